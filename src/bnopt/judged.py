"""Judged claims: how their tables are read and compared, and effects in the units that readers see."""

import json
import math
import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnopt.files import artefacts
from bnopt.runtime import StudyError
from bnopt.verdicts import VERDICTS, boundaries

RATIO = "log_ratio"
# The units of `study.unit`, and how many of each are one unit of a difference.
FACTORS = {"points": 100, "difference": 1}
# What a strip leaves free at each side, as a share of what it shows.
SIDE = 0.06
# What a specification (`specifications.specify`) chooses: the columns of its table, in this order.
CHOICES = ("summary", "steps", "grid")
# The columns of a claim that say what is judged.
DEFINITION = ("quantity", "compare", "condition_a", "condition_b", "expected", "margin")
NUMBERS = ("margin", "effect", "ci_low", "ci_high", "n", "n_diverged")
TEXTS = ("flips_under", "paper_value", "reason")
# Tables of older code lack these.
LATER_TEXTS = ("grade", "seeds_agreeing", "diverged")
NEEDED = ("claim", "label", *DEFINITION, "verdict", *NUMBERS[1:], *TEXTS)
# Begins the source of a claim that the paper does not make.
BEYOND = "beyond the paper"
# Another scale trains the same nets with more seeds, so the paper's claims count there and not here.
BEYOND_ONLY = ("cifar10-vgg",)


def unit(claim, accuracies=()):
    """Return the unit of a claim's effect as readers see it: ratio, points (of a per cent) or difference.

    accuracies: the quantities whose differences are in points
    """
    if claim["compare"] == RATIO:
        return "ratio"
    return "points" if claim["quantity"] in accuracies else "difference"


def with_units(claims, accuracies):
    """Return a table of claims with a column `unit`, see `unit`."""
    return claims.assign(unit=[unit(claim, accuracies) for claim in claims.to_dict("records")])


def natural(values, unit):
    """Return effects in their unit: log ratios as ratios, differences of accuracies in points."""
    values = np.asarray(values, dtype=float)
    with np.errstate(over="ignore"):
        return np.exp(values) if unit == "ratio" else values * FACTORS[unit]


def supporting(claim, unit):
    """Return the least and the largest effect that support a claim, in its unit; None: no boundary."""
    # Adding 0.0 turns -0.0 into 0.0.
    bounds = (bound + 0.0 for bound in boundaries(claim["expected"], claim["margin"]))
    return tuple(natural(bound, unit) if np.isfinite(bound) else None for bound in bounds)


def strip(effects, claim):
    """Return where the strip of a claim has its marks, as shares of its width; None for what it lacks.

    effects: one per seed. An infinite effect is at the edge.
    zero: no effect; margins: the boundaries that are not 0; low, high, effect: the interval; dots: the seeds
    """
    margins = [b for b in boundaries(claim["expected"], claim["margin"]) if np.isfinite(b) and b]
    interval = [claim["ci_low"], claim["ci_high"], claim["effect"]]
    finite = [mark for mark in (0, *margins, *interval, *effects) if np.isfinite(mark)]
    width = (max(finite) - min(finite)) or 1

    def share(mark):
        if np.isnan(mark):
            return None
        return float(np.clip((mark - min(finite) + SIDE * width) / (width + 2 * SIDE * width), 0, 1))

    low, high, effect = map(share, interval)
    return {
        "zero": share(0),
        "margins": list(map(share, margins)),
        "low": low,
        "high": high,
        "effect": effect,
        "dots": list(map(share, effects)),
    }


def combinations(row):
    """Return the choices (see CHOICES) with the result of a row of specifications, its own first."""
    others = row["coincides"].split(";") if isinstance(row["coincides"], str) else []
    return [tuple(row[choice] for choice in CHOICES), *(tuple(other.split("/")) for other in others if other)]


def defined_alike(a, b):
    """Return whether two rows judge the same; two processors may round a margin's logarithm differently."""
    *names, margin = DEFINITION
    same = all(str(a[name]) == str(b[name]) for name in names)
    return same and math.isclose(a[margin], b[margin], rel_tol=1e-12)


@dataclass(frozen=True)
class Stored:
    """The stored results of another scale: claims, description of the images, figures (.png files)."""

    claims: pd.DataFrame
    images: dict
    figures: list


def read_claims(file):
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
    claims = claims.assign(**{column: "" for column in LATER_TEXTS if column not in claims})
    return claims.assign(**claims[[*TEXTS, *LATER_TEXTS]].astype(object).fillna(""))


def counting(claims, scale):
    """Return the stored claims of a scale that count: at one of BEYOND_ONLY those beyond the paper."""
    return claims[claims["source"].str.startswith(BEYOND)] if scale in BEYOND_ONLY else claims


def _refused(file, expected, found):
    return StudyError(f"{file}: expected {expected}, found {found}; name the claims.csv of a finished study")


def read_json(file):
    """Read a JSON file that has a record."""
    return json.loads(artefacts.read_recorded(file))


def read_stored(folder):
    """Read the stored results in a folder that count; raise StudyError with a remedy that fits them."""
    figures = sorted(file for file in folder.glob("fig*.png") if file.stem.isalnum())
    try:
        claims = counting(read_claims(folder / "claims.csv"), folder.name)
        return Stored(claims, read_json(folder / "images.json"), figures)
    except StudyError as error:
        what = str(error).split("; to make it again:")[0]
        crlf = any(b"\r\n" in (folder / name).read_bytes() for name in ("claims.csv", "images.json"))
        cause = " (its lines end in CR LF: git or an editor changed them)" if crlf else ""
        raise StudyError(
            f"{what}{cause}; to restore the stored results: git checkout -- {shlex.quote(str(folder))}, or "
            f"make and store them again: make store SCALE={folder.name}"
        ) from error
