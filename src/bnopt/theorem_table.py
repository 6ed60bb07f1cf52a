"""Side stage: one table of the results on each theorem, on random layers and on trained nets."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from bnopt import runtime
from bnopt.files import artefacts
from bnopt.verdicts import TOLERANCE

RANDOM = "random layers"
COLUMNS = ["statement", "where", "n", "median_error", "max_error", "violated", "holds", "median_share"]


class Statement(NamedTuple):
    """A statement: the table has one row of it for the random layers and for each condition.

    text      the statement, in words
    column    the column that it is computed from
    kind      the meaning of that column:
              error      of an identity
              slack      of an inequality
              excess     of the true maximum over the stated one
              premise    0 or 1
              share      of ‖g‖²
    where     a premise; only cases in which it holds count
    """

    text: str
    column: str
    kind: str
    where: str = ""


STATEMENTS = [
    Statement("Theorem 4.1, as an equality at eps = 0", "thm4.1_error", "error"),
    Statement("Theorem 4.1, inequality at the eps in use", "thm4.1_slack_eps", "slack"),
    Statement("Theorem 4.1: taken away by the mean of g", "thm4.1_mean_share", "share"),
    Statement("Theorem 4.1: taken away by the correlation of g", "thm4.1_correlation_share", "share"),
    Statement("Theorem 4.2, first part, as an equality at eps = 0", "thm4.2_error", "error"),
    Statement("Theorem 4.2, first part, inequality at the eps in use", "thm4.2_slack_eps", "slack"),
    Statement("Theorem 4.2, premise: d'Hd at most g'Hg", "thm4.2_premise", "premise"),
    Statement("the same with d scaled to its part of g", "thm4.2_projected_premise", "premise"),
    Statement("Theorem 4.2, second part, given its premise", "thm4.2_bound_slack", "slack", "thm4.2_premise"),
    Statement("Theorem 4.2, second part, always", "thm4.2_bound_slack", "slack"),
    Statement("Section 4: g correlates with the output", "thm4.2_positive_correlation", "premise"),
    Statement("Section 4: g'Hg not negative", "thm4.2_positive_form", "premise"),
    Statement("Section 4: H positive semi-definite", "thm4.2_semidefinite", "premise"),
    Statement("Theorem 4.4, corrected, as an equality", "thm4.4_error", "error"),
    Statement("Theorem 4.4, its maximum attained by inputs", "thm4.4_attained_error", "error"),
    Statement("Theorem 4.4, as printed", "thm4.4_printed_slack", "slack"),
    Statement("Theorem C.1, at inputs of equal singular values", "thmC.1_error", "error"),
    Statement("Theorem C.1: the form of the weights at these", "thmC.1_attained_error", "error"),
    Statement("Theorem C.1: these inputs are the worst, without BN", "thmC.1_excess", "excess"),
    Statement("the same for H positive semi-definite", "thmC.1_excess", "excess", "thmC.1_semidefinite"),
    Statement("Theorem C.1: these inputs are the worst, with BN", "thmC.1_output_excess", "excess"),
    Statement("Observation 4.3, at eps = 0", "obs4.3_error", "error"),
    Statement("Observation 4.3, at the eps in use", "obs4.3_error_eps", "error"),
    Statement("Lemma 4.5, as an equality", "lem4.5_error", "error", "lem4.5_premise"),
    Statement(
        "Lemma 4.5: scaling the optimum changes nothing", "lem4.5_invariance_error", "error", "lem4.5_premise"
    ),
]


def summarise(random, probes):
    """Return rows for each statement: the random layers, then each condition, over all its seeds.

    random: the table of `random_layers`; probes: tables of the probe `theorems`.

    statement                 text of the statement
    where                     RANDOM or the name of a condition
    n                         number of cases: draws of random layers, or units × layers × steps × seeds of
                              a condition; the latter are not independent of each other
    median_error, max_error   relative error of an identity; amount by which an inequality is violated, or
                              by which the true maximum exceeds the stated one, divided by the sum of both
                              sides (for Theorem 4.4 as printed, by the maximum); see `theory.compare`
    violated                  share of cases whose error exceeds TOLERANCE
    holds                     share of cases in which a premise holds
    median_share              median share of ‖g‖² that a term subtracts

    A statement without a case in a group has no row for it. The report shows every column.
    """
    groups = {RANDOM: _columns(random)}
    if probes:
        measured = pd.concat(probes, ignore_index=True)
        groups |= dict(iter(measured.groupby("condition", sort=False)))
    rows = [
        {"statement": statement.text, "where": where} | numbers
        for statement in STATEMENTS
        for where, columns in groups.items()
        if (numbers := _numbers(columns, statement))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _columns(random):
    """Return the table of random layers with the column names of the probe: one row per draw."""
    wide = {}
    for (theorem, in_use), rows in random.groupby(["theorem", random["eps"] > 0], sort=False):
        rows = rows.set_index("draw")
        suffix = "_eps" if in_use else ""
        wide |= {f"{theorem}_{name}{suffix}": rows[name] for name in rows.select_dtypes("number")}
    return pd.DataFrame(wide)


def _numbers(columns, statement):
    """Return the numbers of a statement's row; an empty dict if the statement has no case."""
    if statement.column not in columns:
        return {}
    values = columns[statement.column]
    if statement.where:
        values = values[columns[statement.where] == 1]
    values = values.dropna()
    if values.empty:
        return {}
    if statement.kind == "premise":
        return {"n": len(values), "holds": values.mean()}
    if statement.kind == "share":
        return {"n": len(values), "median_share": values.median()}
    # A negative slack is an error.
    errors = np.maximum(-values, 0) if statement.kind == "slack" else values
    return {
        "n": len(values),
        "median_error": errors.median(),
        "max_error": errors.max(),
        "violated": (errors > TOLERANCE).mean(),
    }


def main(argv=None):
    """Summarise the results on the theorems from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--random", required=True, help="table of random layers (.csv)")
    parser.add_argument("--probes", required=True, help="tables of the probe; see artefacts.read_runs")
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    random = artefacts.read_table(options.random)
    probes = artefacts.read_runs(options.probes, **job.settings)
    artefacts.write_table(summarise(random, probes), options.table, job=job)


if __name__ == "__main__":
    runtime.run(main)
