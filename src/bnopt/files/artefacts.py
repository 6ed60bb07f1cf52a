"""Reads and writes the files between the stages. A file is complete or absent, never half-written."""

import glob
import io
import json
import os
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from bnopt.files import records

# Columns whose values are names, even if they look like numbers or missing values.
NAMES = ("condition", "condition_a", "condition_b", "layer", "site", "quantity", "claim")
# Writing takes seconds: the writer of a partial file older than this was killed.
LEFTOVER_SECONDS = 3600


@contextmanager
def atomic(path):
    """Yield a path beside `path` to write to; rename it to `path` once the block has succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = _partial(path)
    try:
        with _naming(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path):
    """Yield an empty folder beside `path` to fill; rename it to `path` once the block has succeeded."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = _partial(path)
    remove_folder(partial)
    partial.mkdir()
    try:
        with _naming(path):
            yield partial
            replace_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_folder(folder, path):
    """Rename a folder to `path`; a folder that is already there is removed."""
    remove_folder(path)
    os.replace(folder, path)


def remove_folder(path):
    """Remove a folder if it exists; raise an OSError that names it if a file in it cannot be removed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _naming(path):
    """Add the path to an OSError that names no file, such as the error of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def _partial(path):
    # numpy and matplotlib choose the format by the suffix. The process number separates two writers.
    return path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")


def _remove_leftovers(path):
    """Delete partial files of killed processes; one younger than an hour may belong to a running writer."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial{glob.escape(path.suffix)}"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def write_table(table, path, *, job=None):
    """Write a data frame as CSV, and its record (see `write_recorded`).

    Floats are written in their shortest exact form, so equal tables give equal bytes.
    """
    write_recorded(table.to_csv(index=False, lineterminator="\n"), path, job=job)


def write_recorded(text, path, *, job=None):
    """Write a text file and, beside it, the record of how it was made (`records.describe`)."""
    content = text.encode()
    with atomic(path) as partial:
        partial.write_bytes(content)
        # The record is written first: a result without a record is refused.
        write_record(path, content, job=job)


def write_record(path, content, *, job):
    """Write the record of the file `path` with this content."""
    record = json.dumps(records.describe(content, job), indent=2, ensure_ascii=False)
    write_text(f"{record}\n", records.of(path))


def write_text(text, path):
    """Write a text file."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_recorded(path):
    """Read a text file that has a record; raise StudyError if its content does not match the record."""
    content = Path(path).read_bytes()
    records.verify(path, content)
    return content.decode()


def read_runs(pattern, *, conditions, seeds):
    """Read one table per run; `pattern` is a path with {condition} and {seed}.

    Stages take a pattern because the paths of thousands of runs do not fit on a command line.
    """
    paths = {(c, s): pattern.format(condition=c, seed=s) for c in conditions for s in seeds}
    return [_of_run(read_table(path), path, run) for run, path in paths.items()]


def _of_run(table, path, run):
    """Return the table of a run; raise StudyError if it is that of another run, copied to this path."""
    found = list(table[["condition", "seed"]].drop_duplicates().itertuples(index=False, name=None))
    if len(table) and found != [run]:
        of_others = ", ".join(f"{condition} at seed {seed}" for condition, seed in found[:3])
        raise records.damaged(path, f"expected the run {run[0]} at seed {run[1]}, found {of_others}")
    return table


def read_table(path):
    """Read a CSV table that has a record; raise StudyError if it is damaged.

    An empty field is a missing number; in the text column `layer` it stays an empty text. In a table
    without rows, every column that does not hold names is numeric.
    """
    text = io.StringIO(read_recorded(path))
    table = pd.read_csv(text, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""])
    if table.empty:
        table = table.astype({column: float for column in table if column not in NAMES})
    if "layer" in table:
        table["layer"] = table["layer"].fillna("")
    return table
