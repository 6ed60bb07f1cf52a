"""Side stage: the spread of the loss over runs at several learning rates.

Most other reproductions call this the landscape. The paper measures another quantity: the loss along the
gradient at one point of one run. This stage shows which verdict the other definition gives.
"""

import pandas as pd

from bnopt import runtime
from bnopt.files import artefacts


def spread(curves):
    """Return loss_min and loss_max over the training tables of several runs, per step.

    A loss that is missing in one run counts as ∞; steps at which every loss is missing have no row.
    """
    losses = pd.concat([curve.set_index("step")["loss"] for curve in curves], axis="columns")
    losses = losses.dropna(how="all").fillna(float("inf"))
    return pd.DataFrame({"loss_min": losses.min(axis=1), "loss_max": losses.max(axis=1)}).reset_index()


def main(argv=None):
    """Compute the spread from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--curves", nargs="+", required=True, help="training tables of one seed (.csv)")
    parser.add_argument("--condition", required=True, help="name of these runs in the table")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    table = spread([artefacts.read_table(path) for path in options.curves])
    table.insert(0, "condition", options.condition)
    table.insert(1, "seed", options.seed)
    artefacts.write_table(table, options.table, job=job)


if __name__ == "__main__":
    runtime.run(main)
