"""Keep the results of a scale under docs/results/: python tools/keep.py SCALE

Copies what says how the claims came out, with the records of how it came about: verdicts, statistics over
seeds, figures, the report, the description of the images, and the provenance of every table. Raw tables
stay in results/, and so do the statistics of every step and of activations, of tens of MB: figures show them.
"""

import filecmp
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = (
    "statistics/claims.csv",
    "statistics/claims_*.csv",
    "statistics/alternatives.csv",
    "statistics/theorems.csv",
    "statistics/along_gradient_over_seeds.csv",
    "statistics/covariate_shift_over_seeds.csv",
    "statistics/random_directions_over_seeds.csv",
    "statistics/theorems_over_seeds.csv",
    "data/images.json",
    "provenance.json",
    "report/report.pdf",
    "figures/*.png",
)


def keep(file, folder, before):
    """Copy a file into a folder, with the time of what was kept of it before where that is the same."""
    copy = shutil.copy(file, folder)
    # The reports of other scales are made anew when it changes.
    if before.is_file() and filecmp.cmp(file, before, shallow=False):
        shutil.copystat(before, copy)


def main():
    """Replace what is kept of a scale."""
    if len(sys.argv) != 2:
        sys.exit(f"error: expected the name of a scale, found {len(sys.argv) - 1} arguments\n\n{__doc__}")
    scale = sys.argv[1]
    results, kept = ROOT / "results" / scale, ROOT / "docs" / "results" / scale
    if not (results / "statistics" / "claims.csv").exists():
        sys.exit(
            f"error: {results}: expected the results of the scale, found no statistics/claims.csv; make them "
            f"with snakemake --config scale={scale}"
        )
    # Complete before it takes the place of what was kept; not in docs/results, where reports look.
    partial = ROOT / "docs" / f".keeping-{scale}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for pattern in KEPT:
        # Each with the record beside it, whose name is one longer; hidden are what killed writers left.
        for file in sorted(results.glob(f"{pattern}*")):
            if not file.name.startswith("."):
                keep(file, partial, kept / file.name)
    shutil.rmtree(kept, ignore_errors=True)
    kept.parent.mkdir(exist_ok=True)
    partial.rename(kept)
    print(f"{kept}: {len(list(kept.iterdir()))} files")


if __name__ == "__main__":
    main()
