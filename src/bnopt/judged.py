"""Judged claims: how their tables are read and compared, and effects in the units that readers see."""

import json
import shlex
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bnopt.files import artefacts
from bnopt.runtime import StudyError
from bnopt.verdicts import boundaries

RATIO = "log_ratio"
# The columns of a claim that say what is judged.
DEFINITION = ["quantity", "compare", "condition_a", "condition_b", "expected", "margin"]


def natural(value, compare):
    """Return an effect as readers see it: a log ratio as a ratio, a difference as it is."""
    with np.errstate(over="ignore"):
        return np.exp(value) if compare == RATIO else value


def supporting(claim):
    """Return the least and the largest effect that support a claim, as readers see it; None: no boundary."""
    # Adding 0.0 turns -0.0 into 0.0.
    bounds = (bound + 0.0 for bound in boundaries(claim["expected"], claim["margin"]))
    return tuple(natural(bound, claim["compare"]) if np.isfinite(bound) else None for bound in bounds)


def defined_otherwise(found, claims):
    """Return the names of the claims in `found` that `claims` defines otherwise or does not have."""
    here, there = (
        table.set_index("claim")[DEFINITION].astype(str).agg(" ".join, axis=1) for table in (claims, found)
    )
    return {claim for claim in there.index if there[claim] != here.get(claim)}


@dataclass(frozen=True)
class Stored:
    """The stored results of another scale: claims, description of the images, figures (.png files)."""

    claims: pd.DataFrame
    images: dict
    figures: list


def read_claims(file):
    """Read a table of claims; its empty texts are texts, not missing numbers."""
    claims = artefacts.read_table(file)
    texts = ["flips_under", "paper_value", "reason"]
    return claims.assign(**claims[texts].astype(object).fillna(""))


def read_json(file):
    """Read a JSON file that has a record."""
    return json.loads(artefacts.read_recorded(file))


def read_stored(folder):
    """Read the stored results in a folder; raise StudyError with a remedy that fits them."""
    figures = sorted(file for file in folder.glob("fig*.png") if file.stem.isalnum())
    try:
        return Stored(read_claims(folder / "claims.csv"), read_json(folder / "images.json"), figures)
    except StudyError as error:
        what = str(error).split("; to make it again:")[0]
        crlf = any(b"\r\n" in (folder / name).read_bytes() for name in ("claims.csv", "images.json"))
        cause = " (its lines end in CR LF: git or an editor changed them)" if crlf else ""
        raise StudyError(
            f"{what}{cause}; to restore the stored results: git checkout -- {shlex.quote(str(folder))}, or "
            f"make and store them again: make store SCALE={folder.name}"
        ) from error
