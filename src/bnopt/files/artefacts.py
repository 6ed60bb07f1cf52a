"""Reads and writes the files between the stages: whole or not at all."""

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

# Columns that hold names, whatever these look like.
NAMES = ("condition", "layer", "site", "quantity", "claim")
# A file is written within seconds; one that is older and still partial has lost its writer.
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
    """Rename a folder to `path`, in the place of one that may be there."""
    remove_folder(path)
    os.replace(folder, path)


def remove_folder(path):
    """Remove a folder if there is one; raise an error that names it if something in it cannot be removed."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def _naming(path):
    """Have an error of the system name what was to be written, as on a full disk it names nothing."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


def _partial(path):
    # The suffix stays: numpy and matplotlib go by it. The number keeps two writers apart.
    return path.with_name(f".{path.name}.{os.getpid()}.partial{path.suffix}")


def _remove_leftovers(path):
    """Remove what killed processes left of earlier attempts; the young may be another's at work."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial{glob.escape(path.suffix)}"):
        with suppress(FileNotFoundError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def write_table(table, path, *, job=None):
    """Write a data frame as CSV, and its record; see `write_recorded`.

    Floats in their shortest exact form, so equal tables are equal bytes.
    """
    write_recorded(table.to_csv(index=False, lineterminator="\n"), path, job=job)


def write_recorded(text, path, *, job=None):
    """Write a text and, beside it, the record of how it came about (`records.describe`)."""
    content = text.encode()
    record = json.dumps(records.describe(content, job), indent=2, ensure_ascii=False)
    with atomic(path) as partial:
        partial.write_bytes(content)
        # First the record: a result without one would be refused.
        write_text(f"{record}\n", records.of(path))


def write_text(text, path):
    """Write a text file."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_recorded(path):
    """Read a text that has a record; raise StudyError if it is not what its record tells of."""
    content = Path(path).read_bytes()
    records.verify(path, content)
    return content.decode()


def read_runs(pattern, *, conditions, seeds):
    """Return the tables of some runs, told by a path with {condition} and {seed} in it.

    A pattern, because a command cannot be as long as the paths of some thousand runs.
    """
    return [read_table(pattern.format(condition=c, seed=s)) for c in conditions for s in seeds]


def read_table(path):
    """Read a CSV table that has a record; raise StudyError if it is damaged.

    An empty field is a missing number; in the text column `layer` it stays empty text. A table without
    rows has numbers too, but for its names.
    """
    text = io.StringIO(read_recorded(path))
    table = pd.read_csv(text, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=[""])
    if table.empty:
        table = table.astype({column: float for column in table if column not in NAMES})
    if "layer" in table:
        table["layer"] = table["layer"].fillna("")
    return table
