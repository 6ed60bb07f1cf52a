"""Reads and writes the files between the stages: whole or not at all."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from bnopt.runtime import StudyError


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
    """Read a CSV table; raise StudyError if it cannot be parsed.

    The text columns keep empty fields as empty text, so that a missing layer is "" and not NaN.
    """
    try:
        table = pd.read_csv(path, dtype={"layer": str}, float_precision="round_trip")
    except (ValueError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{path}: expected a table (CSV), found something else ({error}); "
            f"delete the file and call snakemake again to make it anew"
        ) from error
    if "layer" in table:
        table["layer"] = table["layer"].fillna("")
    return table
