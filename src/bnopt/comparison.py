"""Compares two tables of judged claims: those of two scales, commits, machines or devices."""

import numpy as np
import pandas as pd

from bnopt.judged import NEEDED, defined_alike, natural, unit

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
            found[f"{number}_{side}"] = natural(row[number], unit(row)) if row else np.nan
    return found


def _grade(row):
    """Return the grade of a claim; None if its table has none, as those of older code."""
    grade = row.get("grade")
    return None if pd.isna(grade) or grade == "" else grade


def _kind(a, b):
    """Return how two results on a claim differ, one of `KINDS`."""
    if a is None or b is None:
        return "only in B" if a is None else "only in A"
    if not defined_alike(a, b):
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


def _overlap(a, b):
    """Return whether two intervals share an effect, their ends included; None if they do not compare."""
    if a is None or b is None or not defined_alike(a, b) or np.isnan([a["effect"], b["effect"]]).any():
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
