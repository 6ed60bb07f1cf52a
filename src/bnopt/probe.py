"""Stage 3: measure one probe on every snapshot of one run."""

import pandas as pd
from tqdm import tqdm

from bnopt import artefacts, device, plugins, runtime, snapshots
from bnopt.point import Point
from bnopt.run import Run


def probe(data, folder, *, task, norm, net, batch_size, lr, seed, probe, settings):
    """Return the table of a probe: the rows it measures at each snapshot in `folder`, with their step."""
    measure = plugins.load("probes", probe).measure
    place = device.choose()
    run = Run(data, task=task, norm=norm, net=net, batch_size=batch_size, seed=seed, device=place)
    rows = []
    for step in tqdm(snapshots.steps(folder), desc=f"{probe} {task} {norm} seed {seed}"):
        point = Point(run, snapshots.read(folder, step, place), step=step, lr=lr)
        rows += [{"step": step} | row for row in measure(point, **settings)]
    return pd.DataFrame(rows)


def main(argv=None):
    """Measure a probe from the command line."""
    parser = runtime.parser(__doc__)
    parser.add_argument("--data", nargs="?", help="prepared data, if the task has any")
    parser.add_argument("--snapshots", required=True, help="folder of the run's snapshots")
    parser.add_argument("--condition", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    options = parser.parse_args(argv)
    table = probe(options.data, options.snapshots, seed=options.seed, **options.settings)
    table.insert(0, "condition", options.condition)
    table.insert(1, "seed", options.seed)
    artefacts.write_table(table, options.table)


if __name__ == "__main__":
    runtime.run(main)
