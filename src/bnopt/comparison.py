"""Compares two tables of judged claims: those of two scales, commits, machines or devices."""

import math

import numpy as np
import pandas as pd

from bnopt.files import artefacts
from bnopt.latex import RATIO, natural
from bnopt.runtime import StudyError
from bnopt.verdicts import VERDICTS

# The columns of a claim that say what is judged.
DEFINITION = ("quantity", "compare", "condition_a", "condition_b", "expected", "margin")
NUMBERS = ("margin", "effect", "ci_low", "ci_high", "n", "n_diverged")
TEXTS = ("flips_under", "paper_value", "reason")
NEEDED = ("claim", "label", *DEFINITION, "verdict", *NUMBERS[1:], *TEXTS)
# How the two results on a claim differ (`compare`), the gravest difference first.
KINDS = (
    "contradiction",
    "decided on one side",
    "not run on one side",
    "disjoint intervals",
    "other grade",
    "agreement",
    "defined otherwise",
    "only in A",
    "only in B",
)


def read(file):
    """Read a table of claims; its empty texts are texts, not missing numbers.

    StudyError: the file is missing, damaged or no table; a column is missing or holds other values than
    those of claims.csv; two rows have the same claim.
    """
    try:
        claims = artefacts.read_table(file)
    except FileNotFoundError as error:
        raise _refused(file, "a table of claims", "no such file") from error
    except ValueError as error:  # of pandas, or a text that is not UTF-8
        raise _refused(
            file, "a table of claims (.csv)", f"a file that is none ({str(error).strip()})"
        ) from error
    if missing := [column for column in NEEDED if column not in claims]:
        raise _refused(file, f"the column {missing[0]}", f"{', '.join(claims)}")
    for column in NUMBERS:
        if not pd.api.types.is_numeric_dtype(claims[column]):
            raise _refused(file, f"numbers in the column {column}", "a text")
    for column, words in {"verdict": VERDICTS, "compare": ("difference", RATIO)}.items():
        if unknown := sorted(set(claims[column].astype(str)) - set(words)):
            raise _refused(file, f"in the column {column} one of {', '.join(words)}", unknown[0])
    if claims["claim"].isna().any():
        raise _refused(file, "the name of a claim in each row", "a row without one")
    repeated = claims.loc[claims["claim"].duplicated(), "claim"]
    if len(repeated):
        raise _refused(file, "one row for each claim", f"several for {repeated.iloc[0]}")
    return claims.assign(**claims[list(TEXTS)].astype(object).fillna(""))


def _refused(file, expected, found):
    return StudyError(f"{file}: expected {expected}, found {found}; name the claims.csv of a finished study")


def compare(first, second):
    """Return a row for each claim of two tables, A and B: those of A in its order, then those only in B.

    claim, label, compare     of A, or of B if only B has the claim
    kind                      one of `KINDS`:
        contradiction              supported on one side, contradicted on the other
        decided on one side        supported or contradicted on one side, inconclusive on the other
        not run on one side        not run on one side, judged on the other
        disjoint intervals         the same verdict, but no effect lies in both intervals
        other grade                the same verdict, overlapping intervals, other grades
        agreement                  the same verdict and grade, overlapping intervals
        defined otherwise          a column of `DEFINITION` differs: the results do not compare
        only in A, only in B       only one table has the claim
    overlap                   whether the intervals share an effect; None without two comparable intervals
    verdict_a, verdict_b      and grade_a, grade_b: of each side; None where a side or its column is missing
    effect_a, effect_b        and ci_low_*, ci_high_*: in natural terms, a log ratio as a factor
    """
    sides = [{row["claim"]: row for row in table.to_dict("records")} for table in (first, second)]
    rows = [_row(*(side.get(name) for side in sides)) for name in {**sides[0], **sides[1]}]
    columns = _row(dict.fromkeys([*NEEDED, "margin"], 0), None)
    return pd.DataFrame(rows, columns=list(columns), dtype=object)


def _row(a, b):
    """Return the row of `compare` from the rows of one claim in both tables; None: a table lacks it."""
    either = a or b
    found = {"claim": either["claim"], "label": either["label"], "compare": either["compare"]}
    found |= {"kind": _kind(a, b), "overlap": _overlap(a, b)}
    for side, row in {"a": a, "b": b}.items():
        found[f"verdict_{side}"] = row and row["verdict"]
        found[f"grade_{side}"] = row and _grade(row)
        for number in ("effect", "ci_low", "ci_high"):
            found[f"{number}_{side}"] = natural(row[number], row["compare"]) if row else np.nan
    return found


def _grade(row):
    """Return the grade of a claim; None if its table has none, as those of older code."""
    grade = row.get("grade")
    return None if pd.isna(grade) or grade == "" else grade


def _kind(a, b):
    """Return how two results on a claim differ, one of `KINDS`."""
    if a is None or b is None:
        return "only in B" if a is None else "only in A"
    if not _defined_alike(a, b):
        return "defined otherwise"
    verdicts = {a["verdict"], b["verdict"]}
    if len(verdicts) > 1:
        if "not run" in verdicts:
            return "not run on one side"
        return "decided on one side" if "inconclusive" in verdicts else "contradiction"
    if _overlap(a, b) is False:
        return "disjoint intervals"
    grades = {_grade(a), _grade(b)}
    return "other grade" if len(grades) > 1 and None not in grades else "agreement"


def _defined_alike(a, b):
    """Return whether two rows judge the same; two processors may round a margin's logarithm differently."""
    *names, margin = DEFINITION
    same = all(str(a[name]) == str(b[name]) for name in names)
    return same and math.isclose(a[margin], b[margin], rel_tol=1e-12)


def _overlap(a, b):
    """Return whether two intervals share an effect, their ends included; None if they do not compare."""
    if a is None or b is None or not _defined_alike(a, b) or np.isnan([a["effect"], b["effect"]]).any():
        return None
    return bool(a["ci_low"] <= b["ci_high"] and b["ci_low"] <= a["ci_high"])


def surroundings(provenance):
    """Return item -> values: the versions, hardware and commits that made the tables, each value once.

    provenance: path -> record.
    """
    found = {}
    for record in provenance.values():
        about = record["versions"] | record["hardware"] | {"commit": record["commit"]}
        for key, value in about.items():
            if value is not None:
                found.setdefault(key, {})[str(value)] = None
    return {key: list(values) for key, values in found.items()}
