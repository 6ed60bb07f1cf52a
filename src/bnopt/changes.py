"""What changes a verdict: single other choices, and other readings, that give a claim another one."""

from bnopt.judged import CHOICES, combinations
from bnopt.study import names

# In place of the registered choice; any other is a name in words.
WORDS = {
    ("summary", "mean"): "the mean over steps",
    ("summary", "median"): "the median over steps",
    ("summary", "geometric_mean"): "the geometric mean over steps",
    ("steps", "all"): "all steps",
    ("steps", "until_converged"): "only the steps until either net has converged",
    ("steps", "first_half"): "only the first half of the run",
    ("steps", "second_half"): "only the second half of the run",
    ("grid", "all"): "all step sizes",
    ("grid", "up_to_lr"): "only step sizes up to the learning rate",
    ("grid", "lr"): "only the learning rate as step size",
}


def of_claim(claim, *, specifications, summaries, readings):
    """Return (in words, row) for each change of one thing that gives the claim another verdict.

    specifications: rows of `specifications.specify` for this claim, the registered one first; without any,
    summaries: rows with the same claim under other summaries over steps
    readings: alternatives that vary this claim
    """
    if specifications:
        found = _one_other(specifications)
    else:
        found = [(_in_words("summary", row["summary"]), row) for row in summaries]
    found += [(row["label"], row) for row in readings]
    return [(words, row) for words, row in found if row["verdict"] not in (claim["verdict"], "not run")]


def _one_other(specifications):
    """Return (in words, row) for each specification with exactly one choice other than the registered."""
    registered = combinations(specifications[0])[0]
    found = []
    for row in specifications:
        for combination in combinations(row):
            pairs = zip(CHOICES, combination, registered, strict=True)
            other = [(choice, value) for choice, value, usual in pairs if value != usual]
            if len(other) == 1:
                found.append((_in_words(*other[0]), row))
    return found


def _in_words(choice, value):
    return WORDS.get((choice, value), names.words(value))
