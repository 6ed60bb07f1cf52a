"""Reads and writes the files between the stages: whole or not at all."""

import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from bnopt.runtime import StudyError

# Columns that hold names, whatever these look like.
NAMES = ("condition", "layer", "place", "claim")


@contextmanager
def atomic(path):
    """Yield a path beside `path` to write to; rename it to `path` once the block has succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path):
    """Yield an empty folder beside `path` to fill; rename it to `path` once the block has succeeded."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_table(table, path):
    """Write a data frame as CSV; floats in their shortest exact form, so equal tables are equal bytes."""
    with atomic(path) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")


def write_text(text, path):
    """Write a text file."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_table(path):
    """Read a CSV table; raise StudyError if it is damaged.

    An empty field is a missing number; in the text column `layer` it stays empty text.
    """
    try:
        content = Path(path).read_bytes()
        if not content.endswith(b"\n"):
            raise ValueError("its last row is cut off")
        table = pd.read_csv(
            io.BytesIO(content), dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""]
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{path}: expected a table (CSV), found something else ({' '.join(str(error).split())}); "
            f"delete the file and call snakemake again to make it anew"
        ) from error
    if "layer" in table:
        table["layer"] = table["layer"].fillna("")
    return table
