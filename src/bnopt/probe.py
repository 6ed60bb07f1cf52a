"""Stage 3: measure one probe on every snapshot of one run."""

import pandas as pd
from tqdm import tqdm

from bnopt import artefacts, checkpoint, device, plugins, runtime, snapshots
from bnopt.point import Point
from bnopt.run import Run


@device.memory_explained()
def probe(data, folder, *, task, norm, net, batch_size, lr, seed, probe, settings, kept=None):
    """Return the table of a probe: the rows it measures at each snapshot in `folder`, with their step.

    From the checkpoint `kept`, if there is one, it goes on at the first snapshot not measured yet.
    """
    measure = plugins.load("probes", probe).measure
    place = device.choose()
    run = Run(data, task=task, norm=norm, net=net, batch_size=batch_size, seed=seed, device=place)
    state = (kept.read() if kept else None) or {"measured": 0, "rows": []}
    start, rows = state["measured"], state["rows"]
    if start:
        print(f"going on at snapshot {start}")
    steps = snapshots.steps(folder)
    title = f"{probe} {task} {norm} seed {seed}"
    progress = tqdm(steps[start:], desc=title, initial=start, total=len(steps))
    for measured, step in enumerate(progress, start=start):
        if kept and kept.due():
            kept.write({"measured": measured, "rows": rows})
        point = Point(run, snapshots.read(folder, step, place), step=step, lr=lr)
        rows += [{"step": step} | _plain(row) for row in measure(point, **settings)]
    return pd.DataFrame(rows)


def _plain(row):
    """Return a row with plain Python numbers, which a checkpoint can hold."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}


def main(argv=None):
    """Measure a probe from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--data", nargs="?", help="prepared data, if the task has any")
    parser.add_argument("--snapshots", required=True, help="folder of the run's snapshots")
    parser.add_argument("--condition", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    parser.add_argument("--checkpoint", required=True, help="folder for what is kept until it is done")
    options = parser.parse_args(argv)
    inputs = [options.data, options.snapshots]
    with checkpoint.keeping(options.checkpoint, made_by=options, inputs=inputs) as kept:
        table = probe(options.data, options.snapshots, seed=options.seed, kept=kept, **options.settings)
        table.insert(0, "condition", options.condition)
        table.insert(1, "seed", options.seed)
        artefacts.write_table(table, options.table, made_by=options)
        kept.remove()


if __name__ == "__main__":
    runtime.run(main)
