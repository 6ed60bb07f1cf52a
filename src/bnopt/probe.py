"""Stage 3: measure one probe on every snapshot of one run."""

import pandas as pd
from tqdm import tqdm

from bnopt import plugins, runtime
from bnopt.files import artefacts, records
from bnopt.run import device, snapshots
from bnopt.run.checkpoint import resumable
from bnopt.run.point import Point
from bnopt.run.run import Run, split


def probe(run, folder, *, lr, probe, settings, steps=None, checkpoint=None):
    """Return the table of a probe: the rows that it measures at each snapshot in `folder`, with their step.

    lr: the run's learning rate; settings: keyword arguments of the probe's `measure`; steps: those at
    which there are snapshots. A job resumes from its `checkpoint`, if it has one, at the first snapshot that
    is not measured yet.
    """
    steps = snapshots.steps(folder) if steps is None else steps
    measure = plugins.load("probes", probe).measure
    state = (checkpoint.read() if checkpoint else None) or {"measured": 0, "rows": []}
    start, rows = state["measured"], state["rows"]
    if start:
        print(f"resuming at snapshot {start}")
    progress = tqdm(steps[start:], desc=f"{probe} {run.name}", initial=start, total=len(steps))
    for measured, step in enumerate(progress, start=start):
        if checkpoint and checkpoint.due():
            checkpoint.write({"measured": measured, "rows": rows})
        point = Point(run, snapshots.read(folder, step, run.device), step=step, lr=lr)
        rows += [{"step": step} | _plain(row) for row in measure(point, **settings)]
    return pd.DataFrame(rows)


def steps_of(curve, folder):
    """Return the steps of a run's snapshots; raise StudyError if some are missing, or are of another run.

    Otherwise the table of a probe would have fewer rows, like that of a run that diverged.
    """
    table = artefacts.read_table(curve)
    expected = snapshots.expected(table, records.read(curve)["settings"]["snapshot_every"])
    found = snapshots.steps(folder)
    if differing := sorted(set(expected) ^ set(found)):
        what = "missing" if differing[0] in expected else "one too many"
        raise records.damaged(
            folder,
            f"expected {len(expected)} snapshots, as its curve says, found {len(found)}; "
            f"that of step {differing[0]} is {what}",
        )
    return found


def _plain(row):
    """Return a row whose numbers are plain Python ones, which a checkpoint can store."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}


@device.memory_explained()
def main(argv=None):
    """Measure a probe from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--data", nargs="?", help="prepared data, if the task needs any")
    parser.add_argument("--curve", required=True, help="the run's table (.csv)")
    parser.add_argument("--snapshots", required=True, help="folder of the run's snapshots")
    parser.add_argument("--condition", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--table", required=True, help="table to write (.csv)")
    parser.add_argument("--checkpoint", required=True, help="folder for checkpoints, deleted when done")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    of_run, settings = split(job.settings)
    steps = steps_of(options.curve, options.snapshots)
    chosen = device.choose()
    about = {"run": (options.condition, options.seed), "inputs": [options.data, options.snapshots]}
    with resumable(options.checkpoint, job, **about) as checkpoint:
        run = Run(options.data, **of_run, seed=options.seed, device=chosen)
        table = probe(run, options.snapshots, **settings, steps=steps, checkpoint=checkpoint)
        table.insert(0, "condition", options.condition)
        table.insert(1, "seed", options.seed)
        artefacts.write_table(table, options.table, job=job)
        checkpoint.remove()


if __name__ == "__main__":
    runtime.run(main)
