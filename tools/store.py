"""Store the results of a scale under docs/results/: python tools/store.py SCALE

Copies the files listed in STORED with the record of each, and the figures of the study, which
docs/results.md shows, as lighter images. Everything else can be made again from the repository with one
command. If a file to store is missing, nothing is stored and nothing removed.
"""

import argparse
import filecmp
import json
import shutil
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
# Every study makes all of them; without alternatives or theorems, a table is empty.
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
SUFFIX = ".provenance.json"
# Its settings name the figures of the study; the folder may also hold those of an earlier configuration.
REPORT = f"report/report.tex{SUFFIX}"
# The colours of a stored figure: a quarter of the size of an image with all of them.
COLOURS = 64


def tables():
    """Return the tables to store and their records, below the results of a scale."""
    return [f"{name}{more}" for name in STORED for more in ("", SUFFIX)]


def figures(results):
    """Return the figures of the study without its specification curves, below the results of a scale."""
    record = json.loads((results / REPORT).read_text(encoding="utf-8"))
    return [f"figures/{name}.png" for name in (*record["settings"]["captions"], "claims")]


def check(results, names):
    """Stop at the first of these files that the results of a scale lack."""
    for name in names:
        if not (results / name).is_file():
            sys.exit(
                f"error: {results}: expected the results of the scale, found no {name}; make them with "
                f"snakemake --config scale={results.name} and the other options of the study"
            )


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scale")
    scale = parser.parse_args().scale
    results, stored = ROOT / "results" / scale, ROOT / "docs" / "results" / scale
    check(results, [*tables(), REPORT])
    check(results, figures(results))
    # Filled before it replaces the stored results, and outside docs/results, which reports read.
    partial = ROOT / "docs" / f".storing-{scale}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for file in (results / name for name in tables()):
        store(file, partial, stored / file.name)
    for file in (results / name for name in figures(results)):
        store_figure(file, partial, stored / file.name)
    shutil.rmtree(stored, ignore_errors=True)
    stored.parent.mkdir(exist_ok=True)
    partial.rename(stored)
    print(f"{stored}: {len(list(stored.iterdir()))} files")


if __name__ == "__main__":
    main()
