"""Compares the verdicts of two studies: two scales, commits, machines or devices.

python -m bnopt.compare A B

A and B are folders of results (results/digits, docs/results/digits), or their claims.csv. Exit status: 0 if
no verdict contradicts another, 1 if one does (supported on one side, contradicted on the other), 2 if the
input cannot be compared.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bnopt import comparison, judged, runtime
from bnopt.files import artefacts, records
from bnopt.judged import RATIO
from bnopt.runtime import StudyError
from bnopt.verdicts import VERDICTS

# Where a folder of results has its table of claims: stored results, and those of a study.
PLACES = ("claims.csv", "statistics/claims.csv")
HEADINGS = {
    "contradiction": "Contradictions: supported on one side, contradicted on the other",
    "decided on one side": "Decided on one side only, inconclusive on the other",
    "not run on one side": "Not run on one side",
    "disjoint intervals": "The same verdict, but the intervals do not overlap",
    "other grade": "The same verdict with another grade",
    "defined otherwise": "Defined otherwise, so not compared",
    "only in A": "Only in A",
    "only in B": "Only in B",
}
ONE_SIDED = ("defined otherwise", "only in A", "only in B")
# Most lines of settings, and most characters of a value in them.
MOST_LINES, MOST_CHARACTERS = 20, 60


@dataclass(frozen=True)
class Side:
    """One of the two studies: the path as the user gave it, the table of claims, and path -> record."""

    path: str
    claims: pd.DataFrame
    records: dict


def read(path):
    """Read one side from a claims.csv or a folder; raise StudyError if it holds no intact results."""
    file = _table_of(Path(path))
    # Absolute: a path such as claims.csv does not name the folder that it lies in.
    folder = file.absolute().parent
    folder = folder.parent if folder.name == "statistics" else folder
    collected = folder / "provenance.json"
    try:
        claims = judged.read_claims(file)
        known = json.loads(artefacts.read_recorded(collected)) if collected.exists() else {}
        return Side(str(path), claims, known | {"statistics/claims.csv": records.read(file)})
    except StudyError as error:
        what, *to_make_again = str(error).split("; to make it again:")
        remedy = "; copy it again with its record, or make the results again" if to_make_again else ""
        raise StudyError(f"{what}{remedy}") from error


def _table_of(path):
    """Return the table of claims in a folder, or the path itself if it is no folder."""
    if not path.is_dir():
        return path
    found = [path / place for place in PLACES if (path / place).exists()]
    if not found:
        raise StudyError(
            f"{path}: expected {' or '.join(PLACES)} in it, found neither; name the results of a "
            "scale, such as results/digits"
        )
    return found[0]


def text(a, b, rows):
    """Return the lines that describe a comparison; rows: of `comparison.compare`."""
    lines = [*_heading("A", a), *_heading("B", b), ""]
    kinds = rows["kind"].value_counts()
    both = rows[~rows["kind"].isin(ONE_SIDED)]
    changed = int((both["verdict_a"] != both["verdict_b"]).sum())
    lines += [
        f"Claims in both, defined alike: {len(both)}. Other verdicts: {changed}, of these contradictions: "
        f"{kinds.get('contradiction', 0)}.",
        f"The same verdict and grade, overlapping intervals: {kinds.get('agreement', 0)}.",
    ]
    for kind, heading in HEADINGS.items():
        if kind in kinds:
            lines += ["", f"{heading} ({kinds[kind]})"]
            lines += [line for row in rows[rows["kind"] == kind].to_dict("records") for line in _claim(row)]
    return [*lines, "", "Why they may differ", *reasons(a, b)]


def _heading(letter, side):
    """Return the line that introduces a side: path, verdicts, seeds."""
    counts = ", ".join(f"{n} {word}" for word in VERDICTS if (n := (side.claims["verdict"] == word).sum()))
    most = side.claims["n"].max()
    seeds = f"; up to {most:.0f} seeds" if most == most else ""
    return [f"{letter}: {side.path}: {len(side.claims)} claims: {counts or 'no verdict'}{seeds}"]


def _claim(row):
    """Return the lines about one claim: its label and name, then each side's verdict and effect."""
    lines = [f"  {row['label']} ({row['claim']})"]
    if row["kind"] in ONE_SIDED:
        return lines
    for side in "ab":
        grade = f" ({row[f'grade_{side}']})" if row[f"grade_{side}"] else ""
        lines.append(f"    {side.upper()}: {row[f'verdict_{side}']}{grade}, {estimate(row, side)}")
    if row["overlap"] is False and row["kind"] != "disjoint intervals":
        lines.append("    The intervals do not overlap.")
    return lines


def estimate(row, side):
    """Return effect and interval of one side, a ratio with a multiplication sign; a dash if not run."""
    effect, low, high = (row[f"{number}_{side}"] for number in ("effect", "ci_low", "ci_high"))
    if np.isnan(effect):
        return "–"
    sign = "×" if row["compare"] == RATIO else ""
    return f"{sign}{effect:.3g} [{low:.3g}, {high:.3g}]"


def reasons(a, b):
    """Return the lines that say how the records of two sides differ: how, where and from what each was made.

    Times and memory do not count. Settings and code are those of the tables that both sides have.
    """
    lines = _made_by(a, b) + _tables(a, b) + _settings(a, b) + _code(a, b)
    return [f"  {line}" for line in lines] or ["  Their records do not differ."]


def _made_by(a, b):
    """Return a line for each of commit, versions and hardware whose values differ."""
    found = [comparison.surroundings(side.records) for side in (a, b)]
    lines = []
    for key in {**found[0], **found[1]}:
        values = [sorted(of_side.get(key, ["not recorded"])) for of_side in found]
        if values[0] != values[1]:
            lines.append(f"{key}: A {', '.join(values[0])}; B {', '.join(values[1])}")
    return lines


def _tables(a, b):
    """Return a line for each side that has records of tables that the other lacks, such as other seeds."""
    lines = []
    for letter, side, other in (("A", a, b), ("B", b, a)):
        alone = sorted(set(side.records) - set(other.records))
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        if alone:
            lines.append(f"tables only in {letter}: {', '.join(alone[:3])}{more}")
    return lines


def _settings(a, b):
    """Return a line for each setting that differs between the same tables, the commonest first."""
    stages = {}
    for stage, first, second in _common(a, b):
        pair = [records.flat(record.get("settings", {})) for record in (first, second)]
        for key in {**pair[0], **pair[1]}:
            values = [of_side.get(key, "none") for of_side in pair]
            if values[0] != values[1] and _counts(key, values):
                stages.setdefault((key, *map(_short, values)), Counter())[stage] += 1
    found = sorted(stages.items(), key=lambda item: -item[1].total())
    lines = [
        f"setting {key}: A {first}; B {second} (tables of {', '.join(counts)})"
        for (key, first, second), counts in found[:MOST_LINES]
    ]
    more = len(found) - MOST_LINES
    return lines + ([f"and {more} more settings"] if more > 0 else [])


def _counts(key, values):
    """Return whether a setting says more than `comparison.compare`: of a claim, only its layers do.

    A claim that one side lacks is listed as such; a quantity that it lacks has another name there, or no
    claim about it.
    """
    if key.startswith("claims."):
        return key.endswith(".layers") and "none" not in values
    return not (key.startswith("quantities.") and "none" in values)


def _short(value):
    shown = str(value)
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[:MOST_CHARACTERS]}…"


def _code(a, b):
    """Return a line with the stages whose code differs, and one with the modules if both sides know them."""
    stages, modules = {}, {}
    for stage, first, second in _common(a, b):
        if first.get("code") != second.get("code"):
            stages[stage] = None
        pair = [record.get("modules", {}) for record in (first, second)]
        modules |= {name: None for name in pair[0] if pair[0][name] != pair[1].get(name, pair[0][name])}
    lines = [f"code of these stages differs: {', '.join(stages)}"] if stages else []
    return lines + ([f"code of these modules differs: {', '.join(modules)}"] if modules else [])


def _common(a, b):
    """Yield the stage and both records of every table that both sides have."""
    for path in a.records:
        if path in b.records:
            first, second = a.records[path], b.records[path]
            stage = first.get("stage", "unknown stage").removeprefix("bnopt.")
            probe = first.get("settings", {}).get("probe", "")
            yield f"{stage} {probe}".rstrip(), first, second


def main(argv=None):
    """Compare two studies from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bnopt.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("A", "B"):
        parser.add_argument(name, help="a folder of results, or its claims.csv")
    parser.add_argument("--table", help="table to write: a row for each claim (.csv)")
    options = parser.parse_args(argv)
    try:
        a, b = read(options.A), read(options.B)
        rows = comparison.compare(a.claims, b.claims)
        if options.table:
            artefacts.write_table(rows, options.table)
    except StudyError as error:
        parser.exit(2, f"error: {error}\n")
    except OSError as error:
        parser.exit(2, f"error: {error.filename}: could not be read or written ({error.strerror})\n")
    print("\n".join(text(a, b, rows)))
    sys.exit(int((rows["kind"] == "contradiction").any()))


if __name__ == "__main__":
    runtime.run(main)
