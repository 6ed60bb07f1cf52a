"""Measure the project against plain ways of doing the same, side by side; write bench/results.md.

    make bench

    python bench/bench.py [--only steps probes jobs planning study]

Ratios compare processor time: the project's, divided by that of the plain way; below 1 the project is
faster. The floor is the time that the operations of the net's products and convolutions would need at the
speed of this machine's matrix products; the last column is the project's time divided by it.
"""

import argparse
import datetime
import os
import sys
import tempfile
from pathlib import Path

# One thread, as in the jobs of a study; NumPy and PyTorch read this when they are imported.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import calls  # noqa: E402
import probes  # noqa: E402
import steps  # noqa: E402
from _timing import ROOT, machine  # noqa: E402

from bnopt import provenance  # noqa: E402
from bnopt.run import device  # noqa: E402
from bnopt.study import schema, study  # noqa: E402

GROUPS = ("steps", "probes", "jobs", "planning", "study")
HEAD = "| measured | against | result | of the floor |\n|---|---|---|---|"
SCALE = "digits"


def prepared(folder):
    """Return the path of the images of the scale, prepared in a folder."""
    calls.write(folder, *calls.both_files())
    calls.snakemake(folder, "--cores", "1", f"results/{SCALE}/data/images.npz")
    return Path(folder, "results", SCALE, "data", "images.npz")


def rows(of_scale, chosen, images):
    """Yield all rows of the chosen groups."""
    if "steps" in chosen:
        yield from steps.rows(of_scale, images)
    if "probes" in chosen:
        yield from probes.rows(of_scale, images)
    if "jobs" in chosen:
        yield from calls.job_rows(of_scale, images)
    if "planning" in chosen:
        yield from calls.planning_rows()
    if "study" in chosen:
        yield from calls.study_rows()


def main():
    """Print the table row by row; if all groups were measured, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=GROUPS, help="groups of rows to measure")
    chosen = parser.parse_args().only
    device.choose()
    of_scale = study.written_out(schema.read(ROOT / "config.yaml", ROOT / "claims.yaml") | {"scale": SCALE})
    today = datetime.date.today().isoformat()
    lines = [f"Sizes of `{SCALE}`; commit {provenance.commit()}; {today}; {machine()}.", "", HEAD]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(of_scale, chosen, prepared(folder)):
            lines.append(f"| {row.what} | {row.against} | {row.value} | {row.floor} |")
            print(lines[-1], flush=True)
    if set(chosen) == set(GROUPS):
        text = "# Results of `make bench`\n\n" + "\n".join(lines) + "\n"
        (ROOT / "bench" / "results.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
