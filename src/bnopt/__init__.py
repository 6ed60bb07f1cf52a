"""A reproduction of "How Does Batch Normalization Help Optimization?" (Santurkar et al., 2018)."""

import sys
import time

# The start of a job: Python imports this file before the packages that the job's stage needs.
STARTED = time.time()


def explain_interrupts(sentence):
    """On Ctrl-C at a moment when nothing else handles it, print a sentence, if any, and no traceback."""
    before = sys.excepthook

    def explain(kind, error, trace):
        if issubclass(kind, KeyboardInterrupt):
            print(sentence, end="\n" if sentence else "", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = explain


# A job that starts, `python -m bnopt.train`, spends seconds in imports.
if sys.argv[:1] == ["-m"]:
    explain_interrupts("stopped: no checkpoint was written; call snakemake again to resume")
