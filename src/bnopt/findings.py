"""What the report says about a few claims: sentences that follow from their verdicts, and compact tables."""

import numpy as np
import pandas as pd

from bnopt import comparison
from bnopt.judged import strip
from bnopt.latex import escape, estimate, picture, verdict
from bnopt.verdicts import VERDICTS, support

# Sentences name the claims that are not supported if there are no more than this.
MOST_NAMED = 3
NOT_SUPPORTED = ("contradicted", "inconclusive")
SAME = ("agreement", "other grade", "disjoint intervals")
DECIDED_ALIKE_OR_NOT = (*SAME, "contradiction", "decided on one side")


def counted(claims, noun="claims"):
    """Return in a sentence how many claims have which verdict."""
    counts = {word: int((claims["verdict"] == word).sum()) for word in VERDICTS}
    found = {word: count for word, count in counts.items() if count}
    if len(found) == 1:
        (word,) = found
        return f"All {len(claims)} {noun} are {word}." if len(claims) > 1 else f"The claim is {word}."
    shown = [f"{count} {'is' if count == 1 else 'are'} {word}" for word, count in found.items()]
    return f"Of {len(claims)} {noun}, {listed(shown)}."


def listed(words):
    """Return words as a list in a sentence: a; a and b; a, b and c."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def sentences(claims, stored):
    """Return two to four sentences: verdicts, those that are not supported, summaries, and other scales.

    claims: judged claims, at least one; stored: scale -> `judged.Stored`
    """
    found = [counted(claims), _not_supported(claims), others(claims, stored)]
    return " ".join(text for text in found if text)


def others(claims, stored):
    """Return grades, the verdicts that another summary changes, and those at other scales, in sentences."""
    found = [_graded(claims), _flipped(claims), _at_other_scales(claims, stored)]
    return " ".join(text for text in found if text)


def _not_supported(claims):
    """Return the claims that are contradicted or inconclusive beside supported ones, if they are few."""
    others = claims[claims["verdict"].isin(NOT_SUPPORTED)]
    if not 0 < len(others) <= MOST_NAMED or len(others) == len(claims):
        return ""
    found = []
    for word in NOT_SUPPORTED:
        rows = others[others["verdict"] == word].to_dict("records")
        named = [f"{escape(row['label'])}, {estimate(row)}" for row in rows]
        found += [f"{word.capitalize()}: {'; '.join(named)}."] if named else []
    return " ".join(found)


def _graded(claims):
    counts = {word: int((claims["grade"] == word).sum()) for word in ("confirmed", "refuted")}
    shown = [f"{count} {'is' if count == 1 else 'are'} {word}" for word, count in counts.items() if count]
    return f"After adjustment {listed(shown)}." if shown else ""


def _flipped(claims):
    """Return in a sentence how many verdicts another summary of the runs changes."""
    if (claims["verdict"] == "not run").all():
        return ""
    count = int((claims["flips_under"] != "").sum())
    if not count:
        return "No other summary of the runs changes a verdict."
    verdicts = "verdict" if count == 1 else "verdicts"
    return f"Another summary of the runs changes {count} {verdicts} (*)."


def _at_other_scales(claims, stored):
    """Return how many verdicts are the same at each other scale, and the claims with the opposite one."""
    shown = []
    for scale, of_scale in stored.items():
        found = comparison.compare(claims, of_scale.claims)
        judged = found[found["kind"].isin(DECIDED_ALIKE_OR_NOT)]
        if len(judged):
            same = int(judged["kind"].isin(SAME).sum())
            are = "verdict is" if len(judged) == 1 else "verdicts is" if same == 1 else "verdicts are"
            opposite = "; ".join(map(escape, found.loc[found["kind"] == "contradiction", "label"]))
            more = f", the opposite for: {opposite}" if opposite else ""
            shown.append(f"At {escape(scale)}, {same} of {len(judged)} {are} the same{more}.")
    return " ".join(shown)


def compact_table(claims):
    """Return label, effect with its interval, and verdict of a few claims."""
    rows = claims.to_dict("records")
    return pd.DataFrame(
        {
            "Claim": [escape(row["label"]) for row in rows],
            "Effect and interval": [estimate(row) for row in rows],
            "Verdict": [verdict(row) for row in rows],
        }
    )


def headline_table(claims, stored, specifications):
    """Return the headline claims: label, effect as a strip and in numbers, verdicts at every scale, choices.

    specifications: see `specifications.specify`. A claim that is not judged at a scale has a dash there.
    """
    rows = claims.to_dict("records")
    verdicts = dict(list(specifications.groupby("claim")["verdict"]))
    table = pd.DataFrame(
        {
            "Statement": [escape(row["label"]) for row in rows],
            "Interval": ["" if np.isnan(row["effect"]) else picture(strip([], row)) for row in rows],
            "Effect and interval": [estimate(row) for row in rows],
            "Here": [verdict(row) for row in rows],
        }
    )
    for scale, of_scale in stored.items():
        table[escape(scale)] = _verdicts_there(claims, of_scale.claims)
    table["Choices"] = [_choices(verdicts.get(row["claim"], [])) for row in rows]
    return table


def _verdicts_there(claims, others):
    """Return the verdict on each claim in the table of another scale; a dash if it has none."""
    kinds = comparison.compare(claims, others).set_index("claim")["kind"]
    there = {row["claim"]: verdict(row) for row in others.to_dict("records")}
    return [
        "defined otherwise" if kinds[claim] == "defined otherwise" else there.get(claim, "--")
        for claim in claims["claim"]
    ]


def _choices(verdicts):
    supported, judged = support(verdicts)
    return f"{supported} of {judged}" if judged else "--"
