"""Store the results of a scale under docs/results/: python tools/store.py SCALE

Copies the files listed in STORED with the record of each, and the figures, which docs/results.md shows,
as lighter images. Everything else can be made again from the repository with one command.
"""

import filecmp
import shutil
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
STORED = (
    "statistics/claims.csv",
    "statistics/claims_per_seed.csv",
    "statistics/claims_sensitivity.csv",
    "statistics/alternatives.csv",
    "statistics/specifications.csv",
    "statistics/theorems.csv",
    "data/images.json",
    "provenance.json",
)
# The colours of a stored figure: a quarter of the size of an image with all of them.
COLOURS = 64


def figures(results):
    """Return the figures of a scale without its specification curves, sorted; hidden files are unfinished."""
    found = sorted((results / "figures").glob("[!.]*.png"))
    return [file for file in found if not file.name.startswith("specification_")]


def store_figure(file, folder, before):
    """Write a figure with few colours into a folder; before: the file stored earlier."""
    copy = folder / file.name
    with Image.open(file) as image:
        # The other methods give a thin line the colour of a thicker one.
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(copy, optimize=True)
    keep_time(copy, before)


def store(file, folder, before):
    """Copy a file into a folder; before: the file stored earlier."""
    keep_time(Path(shutil.copy(file, folder)), before)


def keep_time(copy, before):
    """Give a file that equals the one stored earlier the time of that one."""
    # Reports of other scales read it, and are made again if it is newer.
    if before.is_file() and filecmp.cmp(copy, before, shallow=False):
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
    for name in STORED:
        for file in (results / name, results / f"{name}.provenance.json"):
            if file.exists():
                store(file, partial, stored / file.name)
    for file in figures(results):
        store_figure(file, partial, stored / file.name)
    shutil.rmtree(stored, ignore_errors=True)
    stored.parent.mkdir(exist_ok=True)
    partial.rename(stored)
    print(f"{stored}: {len(list(stored.iterdir()))} files")


if __name__ == "__main__":
    main()
