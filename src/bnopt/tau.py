"""Side stage: do smoother nets train better? Rank correlations over norms, one table for all seeds.

The paper explains by smoothness why BatchNorm trains better. If so, the accuracy of nets that differ only in
their norm falls as each measure of smoothness rises: Kendall's rank correlation is clearly negative.
"""

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from bnopt import runtime, summaries
from bnopt.files import artefacts

ALL_NORMS = "all_norms"
# A net whose final accuracy exceeds chance by at most this has not trained.
AT_CHANCE = 0.05
FLOOR = 1e-12


def rank(tables, *, conditions, reference, measures):
    """Return one row per seed: condition (`all_norms`), seed, layer (empty), step (0), and these columns.

    tables: name -> table with one row per run and step, as `statistics.per_seed` gives it; among them
    `training`. measures: table -> its columns that are ranked. reference: one of the conditions.

    <measure>               Kendall's τ_b over the conditions of the mean accuracy over the run with the mean
                            of the measure over the run; −1: the smaller the measure, the higher the accuracy
    <measure>_equal_loss    of the mean accuracy with the mean log ratio of the measure to that of the
                            reference at equal training loss (`summaries.equal_loss`); conditions without a
                            common loss are left out
    <column>_trained        each of these without conditions that stay at chance: whose final accuracy
                            (`summaries.final`) is at most 0.05 above chance
    <column>_diverged       for each of these, the conditions ranked by it whose run diverged, separated by ;

    The measure of a diverged run is ∞, but at equal loss. τ_b is NaN if fewer than two conditions are left,
    or if all have the same accuracy or measure.
    """
    seeds = sorted(set(tables["training"]["seed"]))
    rows = []
    for seed in seeds:
        of_seed = {name: table[table["seed"] == seed] for name, table in tables.items()}
        rows.append({"condition": ALL_NORMS, "seed": seed, "layer": "", "step": 0})
        rows[-1] |= _correlations(of_seed, conditions, reference, measures)
    return pd.DataFrame(rows)


def _correlations(tables, conditions, reference, measures):
    """Return the columns of one seed."""
    curves = {name: _run(tables["training"], name) for name in conditions}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    accuracies = {name: curve["accuracy"].mean() for name, curve in curves.items()}
    trained = [name for name, curve in curves.items() if not _at_chance(curve)]
    lost = {name for name, curve in curves.items() if curve["diverged"].any()}
    losses = {name: summaries.smooth(curve["loss"]) for name, curve in curves.items()}
    numbers = {}
    for table, names in measures.items():
        for measure in names:
            values = {name: _values(tables[table], name, measure) for name in curves}
            numbers[measure] = {n: np.inf if n in lost else of.mean() for n, of in values.items()}
            numbers[f"{measure}_equal_loss"] = _ratios(values, losses, reference)
    columns = {}
    for column, of in numbers.items():
        known = [name for name in curves if not np.isnan([accuracies[name], of[name]]).any()]
        for more, ranked in (("", known), ("_trained", [name for name in known if name in trained])):
            columns[f"{column}{more}"] = _tau([(accuracies[name], of[name]) for name in ranked])
            columns[f"{column}{more}_diverged"] = ";".join(name for name in ranked if name in lost)
    return columns


def _run(table, condition):
    """Return the rows of a condition, by step."""
    return table[table["condition"] == condition].set_index("step")


def _values(table, condition, column):
    """Return the values of a column by step; none if every run of the table diverged at once."""
    return _run(table, condition)[column].dropna() if column in table else pd.Series(dtype=float)


def _at_chance(curve):
    return summaries.final(curve["accuracy"].dropna()) <= curve["chance"].iloc[0] + AT_CHANCE


def _ratios(values, losses, reference):
    """Return condition -> mean log ratio of its values to the reference's at equal loss; NaN without any."""
    found = {}
    for name, of_run in values.items():
        found[name] = np.nan
        if reference in values:
            pair = summaries.equal_loss(of_run, values[reference], losses[name], losses[reference])
            own, other = (np.log(np.maximum(means, FLOOR)) for means in pair)
            with np.errstate(invalid="ignore"):  # as in effects, neither of two infinities is larger
                found[name] = np.where(own == other, 0.0, own - other).mean() if len(own) else np.nan
    return found


def _tau(pairs):
    """Return τ_b of pairs of numbers."""
    return kendalltau(*zip(*pairs, strict=True)).statistic if len(pairs) > 1 else np.nan


def main(argv=None):
    """Compute the rank correlations from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument(
        "--tables", nargs="+", required=True, help="(.csv): training, then those of the measures"
    )
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    names = ["training", *job.settings["measures"]]
    tables = {name: artefacts.read_table(file) for name, file in zip(names, options.tables, strict=True)}
    artefacts.write_table(rank(tables, **job.settings), options.table, job=job)


if __name__ == "__main__":
    runtime.run(main)
