"""Store the results of a scale under docs/results/: python tools/store.py SCALE

Copies the files listed in STORED, the figures that README.md or a page in docs/ shows, and the record
of each. Everything else can be made again from the repository with one command.
"""

import filecmp
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STORED = (
    "statistics/claims.csv",
    "statistics/claims_per_seed.csv",
    "statistics/claims_sensitivity.csv",
    "statistics/alternatives.csv",
    "statistics/theorems.csv",
    "data/images.json",
    "provenance.json",
)


def shown_figures(scale):
    """Return the names of the figures of a scale that README.md or a page in docs/ shows, sorted."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.exists()]
    return sorted({name for text in texts for name in re.findall(rf"results/{scale}/(\w+\.png)\)", text)})


def store(file, folder, before):
    """Copy a file into a folder; if it equals `before`, the file stored earlier, the copy gets its time."""
    copy = shutil.copy(file, folder)
    # Reports of other scales read it, and are made again if it is newer.
    if before.is_file() and filecmp.cmp(file, before, shallow=False):
        shutil.copystat(before, copy)


def main():
    """Replace the stored results of a scale."""
    if len(sys.argv) != 2:
        sys.exit(f"error: expected the name of a scale, found {len(sys.argv) - 1} arguments\n\n{__doc__}")
    scale = sys.argv[1]
    results, stored = ROOT / "results" / scale, ROOT / "docs" / "results" / scale
    if not (results / "statistics" / "claims.csv").exists():
        sys.exit(
            f"error: {results}: expected the results of the scale, found no statistics/claims.csv; make them "
            f"with snakemake --config scale={scale}"
        )
    # Filled before it replaces the stored results, and outside docs/results, which reports read.
    partial = ROOT / "docs" / f".storing-{scale}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    wanted = [*STORED, *(f"figures/{name}" for name in shown_figures(scale))]
    for name in wanted:
        for file in (results / name, results / f"{name}.provenance.json"):
            if file.exists():
                store(file, partial, stored / file.name)
    shutil.rmtree(stored, ignore_errors=True)
    stored.parent.mkdir(exist_ok=True)
    partial.rename(stored)
    print(f"{stored}: {len(list(stored.iterdir()))} files")


if __name__ == "__main__":
    main()
