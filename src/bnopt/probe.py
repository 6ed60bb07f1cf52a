"""Stage 3: measure one probe on every snapshot of one run."""

import pandas as pd
from tqdm import tqdm

from bnopt import plugins, runtime
from bnopt.files import artefacts
from bnopt.run import device, snapshots
from bnopt.run.checkpoint import resumable
from bnopt.run.point import Point
from bnopt.run.run import Run, split


def probe(run, folder, *, lr, probe, settings, checkpoint=None):
    """Return the table of a probe: the rows that it measures at each snapshot in `folder`, with their step.

    lr: the run's learning rate; settings: keyword arguments of the probe's `measure`. A job resumes
    from its `checkpoint`, if it has one, at the first snapshot that is not measured yet.
    """
    measure = plugins.load("probes", probe).measure
    state = (checkpoint.read() if checkpoint else None) or {"measured": 0, "rows": []}
    start, rows = state["measured"], state["rows"]
    if start:
        print(f"resuming at snapshot {start}")
    steps = snapshots.steps(folder)
    progress = tqdm(steps[start:], desc=f"{probe} {run.name}", initial=start, total=len(steps))
    for measured, step in enumerate(progress, start=start):
        if checkpoint and checkpoint.due():
            checkpoint.write({"measured": measured, "rows": rows})
        point = Point(run, snapshots.read(folder, step, run.device), step=step, lr=lr)
        rows += [{"step": step} | _plain(row) for row in measure(point, **settings)]
    return pd.DataFrame(rows)


def _plain(row):
    """Return a row whose numbers are plain Python ones, which a checkpoint can store."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}


@device.memory_explained()
def main(argv=None):
    """Measure a probe from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--data", nargs="?", help="prepared data, if the task needs any")
    parser.add_argument("--snapshots", required=True, help="folder of the run's snapshots")
    parser.add_argument("--condition", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    parser.add_argument("--checkpoint", required=True, help="folder for checkpoints, deleted when done")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    of_run, settings = split(job.settings)
    chosen = device.choose()
    about = {"run": (options.condition, options.seed), "inputs": [options.data, options.snapshots]}
    with resumable(options.checkpoint, job, **about) as checkpoint:
        run = Run(options.data, **of_run, seed=options.seed, device=chosen)
        table = probe(run, options.snapshots, **settings, checkpoint=checkpoint)
        table.insert(0, "condition", options.condition)
        table.insert(1, "seed", options.seed)
        artefacts.write_table(table, options.table, job=job)
        checkpoint.remove()


if __name__ == "__main__":
    runtime.run(main)
