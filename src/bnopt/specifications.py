"""Side stage: judge the headline claims again under every combination of three choices.

A figure of the result is known as a specification curve.
"""

import itertools
import time

import numpy as np
import pandas as pd

from bnopt import effects, plugins, runtime, verdicts
from bnopt.files import artefacts
from bnopt.judged import CHOICES

# `specify` describes the columns.
COLUMNS = [
    "claim", "label", "source", "compare", "expected", "margin", "registered", "summary", "steps", "grid",
    "coincides", "n", "effect", "ci_low", "ci_high", "verdict", "reason",
]  # fmt: skip
# The training accuracy at which a run counts as converged, unless the quantity has its own.
CONVERGED = 0.99
# The grids that hold a part of all step sizes.
SMALLER = ("up_to_lr", "lr")
NO_WIDTH = "the quantity is a range over step sizes, and the grid has only one"


def specify(tables, on_grid, *, claims, quantities, choices):
    """Return a row per claim and specification: effect, interval and verdict, as `claims.judge` defines them.

    tables: name -> table with a value per quantity, run and step; one of them is `training`.
    on_grid: table -> grid -> the same table, measured at fewer step sizes.
    claims, quantities: those of `claims.judge`.
    choices: quantity -> the values of `summary`, `steps` and `grid`, the registered one first.

    summary    how values at many steps become one number (`summaries`)
    steps      steps that count: all; until_converged, before the training accuracy of either run reaches
               that of the quantity, or 0.99; first_half and second_half of the run
    grid       step sizes that count: all; up_to_lr, at most the learning rate; lr alone

    A specification is a combination of the three that has a result of its own. Combinations whose effects
    agree in every seed, up to rounding, are one specification: the first of them is shown, the others
    stand in `coincides`.

    registered     1 for the specification by which the claim is judged, else 0
    coincides      other combinations with this result, as summary/steps/grid, separated by ;
    reason         why a specification is not run; else empty

    The other columns are those of the claims. Each claim begins with its registered specification.
    """
    runs = effects.Runs(tables)
    of_grid = {
        (table, grid): runs.with_table(table, values)
        for table, grids in on_grid.items()
        for grid, values in grids.items()
    }
    rows = []
    for name, claim in claims.items():
        quantity = quantities[claim["quantity"]]
        combinations = []
        for grid in choices[claim["quantity"]]["grid"]:
            pairs = effects.pairs(of_grid.get((quantity["table"], grid), runs), claim, quantity)
            combinations += _on_one_grid(pairs, claim, quantity, choices[claim["quantity"]], grid)
        about = {
            **{key: claim[key] for key in ("label", "source", "expected")},
            "claim": name,
            "compare": quantity["compare"],
            "margin": effects.margin_of(claim, quantity),
        }
        found = _distinct(combinations)
        rows += [about | row | {"registered": int(row is found[0])} for row in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _on_one_grid(pairs, claim, quantity, choices, grid):
    """Return the result of every combination of summary and steps on one grid."""
    windows = {name: [_counted(pair, quantity, name) for pair in pairs] for name in choices["steps"]}
    no_width = grid in SMALLER and _are_zero([of_run for pair in pairs for of_run in pair["values"]])
    found = []
    for summary, steps in itertools.product(choices["summary"], choices["steps"]):
        result = effects.assess(windows[steps], claim, quantity, summary)
        result |= _without_width(result["effects"]) if no_width else {}
        found.append({"summary": summary, "steps": steps, "grid": grid, **result})
    return found


def _counted(pair, quantity, steps):
    """Return a pair of runs in which only these steps count."""
    values, curves = pair["values"], pair["curves"]
    if steps == "until_converged":
        counted = effects.until_accuracy(values, curves, quantity["until_accuracy"] or CONVERGED)
    elif steps == "all":
        counted = values
    else:
        # The last row of a curve is the test after the last step.
        middle = curves[0].index.max() / 2
        counted = [of_run[(of_run.index < middle) == (steps == "first_half")] for of_run in values]
    return pair | {"counted": counted}


def _are_zero(values):
    """Return whether there are values, and all are 0; values: a table per run."""
    return any(map(len, values)) and all((of_run == 0).all(axis=None) for of_run in values)


def _without_width(like):
    """Return the result of a range over step sizes on a grid of one; like: one number per seed."""
    missing = dict.fromkeys(("effect", "ci_low", "ci_high"), np.nan)
    return missing | {"n": 0, "effects": np.full_like(like, np.nan), "verdict": "not run", "reason": NO_WIDTH}


def _distinct(combinations):
    """Return the first combination of each result; `coincides` names the others."""
    found = []
    for one in combinations:
        twin = next((other for other in found if _same(one, other)), None)
        if twin is None:
            found.append(one | {"twins": []})
        else:
            twin["twins"].append("/".join(one[choice] for choice in CHOICES))
    return [one | {"coincides": ";".join(one["twins"])} for one in found]


def _same(one, other):
    """Return whether two combinations have the same effect in every seed, up to rounding, or none at all."""
    effects_of_both = one["effects"], other["effects"]
    alike = np.allclose(*effects_of_both, verdicts.TOLERANCE, verdicts.TOLERANCE, equal_nan=True)
    return alike and one["reason"] == other["reason"]


def cut(table, grid):
    """Return the rows of a table, with a row per step size, whose step sizes belong to a grid."""
    size = table["eta"] / table["lr"]
    alone = np.isclose(size, 1)
    return table[alone if grid == "lr" else alone | (size < 1)]


def on_grids(runs, *, table):
    """Return grid -> the values per run and step of a table, at the step sizes of the grid.

    runs: the tables of all runs. A run that diverged at step 0 has no rows.
    """
    runs = [of_run for of_run in runs if len(of_run)]
    if not runs:
        return {grid: pd.DataFrame(columns=["condition", "seed", "step"]) for grid in SMALLER}
    whole, per_step = pd.concat(runs, ignore_index=True), plugins.load("quantities", table).per_step
    return {grid: per_step(cut(whole, grid)) for grid in SMALLER}


def main(argv=None):
    """Judge the headline claims under every combination of choices from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--tables", nargs="+", required=True, help="(.csv), in the order of the settings")
    parser.add_argument("--runs", nargs="*", default=[], help="per table with step sizes; see read_runs")
    parser.add_argument("--specifications", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    started = time.perf_counter()
    job = runtime.job_of(options)
    settings = dict(job.settings)
    names, grids, seeds = (settings.pop(key) for key in ("tables", "grids", "seeds"))
    tables = {name: artefacts.read_table(file) for name, file in zip(names, options.tables, strict=True)}
    on_grid = {}
    for (table, conditions), pattern in zip(grids.items(), options.runs, strict=True):
        runs = artefacts.read_runs(pattern, conditions=conditions, seeds=seeds)
        on_grid[table] = on_grids(runs, table=table)
    found = specify(tables, on_grid, **settings)
    artefacts.write_table(found, options.specifications, job=job)
    print(f"{len(found)} specifications in {time.perf_counter() - started:.1f} seconds")
    for claim, of_claim in found.groupby("claim", sort=False):
        supported, judged = verdicts.support(of_claim["verdict"])
        print(f"{claim}: supported in {supported} of {judged}")


if __name__ == "__main__":
    runtime.run(main)
