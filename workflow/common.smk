"""Paths, the environment of jobs, and wildcards.

`bnopt.study.jobs` computes the settings, the code fingerprint and the inputs of each job. A job runs
again when its param `settings` or `code` changes.
"""

import logging
import os
import re
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

# Relative if results lie in the checkout: then both can be moved, and nothing runs again.
CHECKOUT = "" if Path(workflow.basedir).samefile(".") else f"{workflow.basedir}/"
STYLE = f"{CHECKOUT}paper/figures.mplstyle"
TEXT = f"{CHECKOUT}paper/main.tex"
# The template, style and script of the page of claims.
PAGE = f"{CHECKOUT}workflow/page"
# The captions of the HTML page.
CAPTIONS = map(str, sorted(Path(f"{CHECKOUT}workflow/report").glob("*.rst")))
CAPTIONS = [caption for caption in CAPTIONS if Path(caption).stem.isidentifier()]
# The stored results, one folder per scale.
STORED = f"{CHECKOUT}docs/results"
# Without LaTeX the report is not compiled; report.tex can be compiled elsewhere.
REPORT_FORMATS = ["tex", "pdf"] if shutil.which("latexmk") else ["tex"]
# Priorities: Snakemake starts the jobs with the largest sum. Images come first and outweigh any number of
# other jobs, so that a bad one is found before any run is trained. Statistics are short, and others wait for
# them. Probes come before further training, so that temporary snapshots are deleted sooner. Only the reports
# wait for figures: they come last, and occupy the cores that would idle while the verdicts are made.
FIGURES, TRAINING, PROBES, STATISTICS = range(4)
IMAGES = 1_000_000

from bnopt.study import progress

messages, interrupts = logging.getLogger("snakemake.logging"), None
if workflow.is_main_process:
    interrupts = progress.Interrupts()
    messages.addFilter(interrupts)
    messages.addFilter(progress.Progress(workflow))

import fork_server
from bnopt import provenance
from bnopt.runtime import StudyError
from bnopt.study import calls, checks, gpus, image_sources, jobs, schema, stale, study

# A job that runs on the CPU need not wait for a GPU. On this machine, one job at a time uses a GPU of it,
# unless --resources gpu=N says otherwise. A cluster has its own.
GPUS_OF_A_JOB = 0 if config.get("device") == "cpu" else 1
if "gpu" not in workflow.global_resources and workflow.resource_settings.nodes is None:
    workflow.register_resource("gpu", gpus.places() if GPUS_OF_A_JOB else gpus.UNLIMITED)

calls.restore_words(config, workflow.config_settings)
try:
    for file in workflow.configfiles:
        schema.check_keys(file)
    checks.check(config)
    STUDY = study.written_out(config)
    job = jobs.Jobs(STUDY)
    RECORDED = job.recorded()
    EXPECTED = stale.write_expected(RECORDED)
except StudyError as error:
    sys.exit(f"error: {calls.naming(str(error), workflow.config_settings)}")
except SyntaxError as error:  # in code whose fingerprint is taken, such as that of a norm
    found = f"expected Python, found a mistake ({error.msg}); correct it"
    sys.exit(f"error: {error.filename}, line {error.lineno}: {found}")
OPTIONS = calls.options(workflow.config_settings, config)
messages.addFilter(stale.Guard(workflow, RECORDED, shlex.join(OPTIONS)))
# Not resolved: if the folder is a link, the message at the end names the scale, not what the link names.
RESULTS = Path("results", STUDY["scale"]).absolute()

# Jobs find the package through PYTHONPATH, so it need not be installed. The other variables are: the
# commit, for the records; the options of this call, for the commands in messages; how each result is made
# now; the device. A change of environment variables, unlike one of params, reruns nothing.
ENVIRONMENT = {
    "BNOPT_COMMIT": provenance.commit(),
    "BNOPT_OPTIONS": shlex.join(OPTIONS),
    "BNOPT_EXPECTED": EXPECTED,
    "PYTHONPATH": SOURCE,
} | ({"BNOPT_DEVICE": str(config["device"])} if "device" in config else {})
# With `--sdm conda`, Snakemake activates an environment before each job.
IN_CONDA = "conda" in map(str, workflow.deployment_settings.deployment_method)
exports = jobs.shell_prefix(os.environ, ENVIRONMENT, conda=IN_CONDA)
# Double the braces: Snakemake would take single ones for placeholders.
shell.prefix(exports.replace("{", "{{").replace("}", "}}"))


# Part -> its files, of the parts that were not chosen.
OF_OTHER_PARTS = jobs.of_other_parts(config)


wildcard_constraints:
    scale=jobs.one_of([STUDY["scale"]]),
    another=jobs.one_of(config["scales"].keys() - {STUDY["scale"]}),
    of_another_part="|".join(OF_OTHER_PARTS.values()) or "(?!)",
    condition=jobs.one_of(STUDY["conditions"]),
    seed=r"\d+",
    probe=jobs.one_of(STUDY["probes"]),
    spread=jobs.one_of(STUDY["rate_spread"]),
    table=jobs.one_of(job.summarised()),
    figure=jobs.one_of(STUDY["figures"]),
    claim=jobs.one_of(STUDY["headline"]),


def refused(wildcards):
    """Refuse a file of a scale other than the chosen one."""
    sys.exit(
        f"error: results/{wildcards.another}/{wildcards.file}: expected a file of the scale "
        f"{STUDY['scale']}, found one of {wildcards.another}; add --config scale={wildcards.another}"
    )


def refused_part(wildcards):
    """Refuse a file of a part that was not chosen."""
    file, chosen = wildcards.of_another_part, STUDY["parts"]
    part = next(part for part, files in OF_OTHER_PARTS.items() if re.fullmatch(files, file))
    option = shlex.quote(f"parts=[{','.join([*chosen, part])}]")
    sys.exit(
        f"error: results/{wildcards.scale}/{file}: expected a file of the chosen parts "
        f"({', '.join(chosen)}), found one of the part {part}; add --config {option}"
    )


def snapshots_folder(path):
    """Return the folder as an output: permanent, or deleted once every probe has read it."""
    return directory(path) if STUDY["keep_snapshots"] else temp(directory(path))


def not_tracked(value):
    """Return a param function whose value reruns nothing: Snakemake tracks none that takes `output`."""

    def of_job(wildcards, output):
        return value

    return of_job


def study_files(wildcards):
    """Return every result that the HTML page shows."""
    return [
        *job.figures(wildcards),
        f"results/{wildcards.scale}/claims.html",
        f"results/{wildcards.scale}/statistics/claims.csv",
        f"results/{wildcards.scale}/statistics/specifications.csv",
        f"results/{wildcards.scale}/statistics/theorems.csv",
        f"results/{wildcards.scale}/report/report.tex",
    ]
