"""Stage 2: train one run, a condition at a seed; write its curve and its snapshots."""

import pandas as pd
import torch
from torch.optim.sgd import sgd
from tqdm import tqdm

from bnopt import runtime
from bnopt.files import artefacts
from bnopt.run import device, snapshots
from bnopt.run.checkpoint import resumable
from bnopt.run.run import Run, split
from bnopt.runtime import StudyError


def train(run, *, lr, warmup=0, steps, test_every, snapshot_every, folder, checkpoint=None):
    """Train by plain SGD, θ_{t+1} = θ_t − lr ∇L_t(θ_t); return the curve as a table.

    warmup: fraction of the steps in which the learning rate rises linearly to lr (`rate_at`).

    Row t of the table holds the loss and the accuracy of batch t at θ_t in training mode. At every
    `test_every`-th step and after the last, it also holds the accuracy on the test set at θ_t in
    evaluation mode; the last row, t = steps, holds only that. Every `snapshot_every`-th θ_t (0: none) is
    written to `folder`.

    A run diverges at the first step whose loss is not finite: it stops, and from that step on its loss is
    ∞, `diverged` is 1, and there are no snapshots. A run resumes from its `checkpoint`, if it has one; its
    results are the same to the bit as if it had never been stopped.
    """
    # On the device: reading a value at every step would make the device wait for Python.
    dtype = next(run.model.parameters()).dtype
    record = torch.full((3, steps + 1), torch.nan, dtype=dtype, device=run.device)
    losses, accuracies, tests = record
    start = 0
    state = checkpoint.read() if checkpoint else None
    if state and _has_snapshots(folder, state["step"], snapshot_every):
        start = state["step"]
        print(f"resuming at step {start}")
        run.model.load_state_dict(state["model"])
        record.copy_(state["record"])

    update = updater(run, lr=lr)
    title = f"{run.name} lr {lr:g}"
    progress = tqdm(range(start, steps), desc=title, initial=start, total=steps, mininterval=1)
    for step in progress:
        if checkpoint and checkpoint.due():
            checkpoint.write({"step": step, "model": run.model.state_dict(), "record": record})
        snapshot_due = snapshot_every and step % snapshot_every == 0
        test_due = step % test_every == 0
        if (snapshot_due or test_due) and not losses[:step].isfinite().all():
            break
        if snapshot_due:
            snapshots.write(run.model.state_dict(), folder, step)
        if test_due:
            tests[step] = run.task.test(run.model, run.data)
            if step:
                progress.set_postfix(loss=f"{losses[step - 1]:.3g}", accuracy=f"{accuracies[step - 1]:.3f}")

        run.set_noise(step)
        rate = rate_at(step, lr=lr, warmup_steps=warmup * steps)
        losses[step], accuracies[step] = update(*run.batch(step), rate)

    tests[steps] = run.task.test(run.model, run.data)
    curve = _mark_divergence(_curve(record.cpu(), chance=run.task.chance(run.data)), folder)
    if not _has_snapshots(folder, int((curve["diverged"][:-1] == 0).sum()), snapshot_every):
        raise StudyError(
            f"{folder}: expected a snapshot every {snapshot_every} steps, found fewer; another copy of this "
            "job has moved them away: make sure that only one is running, then call snakemake again"
        )
    return curve


def rate_at(step, *, lr, warmup_steps):
    """Return the learning rate of a step: lr · (step + 1) / warmup_steps until it reaches lr."""
    return lr if step + 1 >= warmup_steps else lr * (step + 1) / warmup_steps


def updater(run, *, lr):
    """Return a function that makes one step of plain SGD: inputs, targets, learning rate -> loss, accuracy.

    Steps at the rate lr are recorded (`Run.recorded`). A recording holds its rate, so steps at other rates,
    those of a warm-up, are not.
    """
    parameters = list(run.model.parameters())
    detached = [p.detach() for p in parameters]
    buffers = list(run.model.buffers())
    # The function behind `torch.optim.SGD`: the class would import PyTorch's compiler (`be_repeatable`).
    plain = {"momentum": 0, "dampening": 0, "nesterov": False, "weight_decay": 0, "maximize": False}

    def descend(gradient, rate):
        with torch.no_grad():
            sgd(parameters, gradient, [], lr=rate, **plain)

    def fast_update(inputs, targets, rate=lr):
        del inputs, targets
        loss, gradient = run.fast_pass(detached, buffers)
        descend(gradient, rate)
        return loss, torch.nan

    def update(inputs, targets, rate=lr):
        outputs = run.model(inputs)
        loss = run.task.loss(outputs, targets)
        run.model.zero_grad()
        loss.backward()
        descend([p.grad for p in parameters], rate)
        run.settle()
        return loss.detach(), run.task.accuracy(outputs.detach(), targets)

    if run.fast_pass:
        return fast_update
    recorded = run.recorded(update, changes=run.model.state_dict().values())

    def step(inputs, targets, rate=lr):
        return recorded(inputs, targets) if rate == lr else update(inputs, targets, rate)

    return step


def _curve(record, *, chance):
    """Return a table with the loss, accuracy and test accuracy of every step."""
    columns = dict(zip(("loss", "accuracy", "test_accuracy"), record, strict=True))
    return pd.DataFrame({"step": range(record.shape[1]), **columns, "chance": chance, "diverged": 0})


def _has_snapshots(folder, step, every):
    """Return whether all snapshots before a step are in the folder; a finished job moves them away."""
    return not every or set(range(0, step, every)) <= set(snapshots.steps(folder))


def _mark_divergence(curve, folder):
    """Mark a curve as diverged from its first loss that is not finite; remove the snapshots from there on."""
    finite = torch.tensor(curve["loss"].to_numpy()[:-1]).isfinite()
    if not finite.all():
        first = int((~finite).int().argmax())
        later = curve["step"] >= first
        curve.loc[later, ["loss", "accuracy", "test_accuracy", "diverged"]] = [
            float("inf"),
            float("nan"),
            float("nan"),
            1,
        ]
        for step in snapshots.steps(folder):
            if step >= first:
                snapshots.remove(folder, step)
        print(f"diverged: the loss is not finite at step {first}; the curve records it")
    return curve


@device.memory_explained()
def main(argv=None):
    """Train one run from the command line."""
    parser = runtime.parser(__spec__.name, __doc__)
    parser.add_argument("--data", nargs="?", help="prepared data, if the task needs any")
    parser.add_argument("--condition", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--curve", required=True, help="table to write (.csv)")
    parser.add_argument("--snapshots", required=True, help="folder to write")
    parser.add_argument("--checkpoint", required=True, help="folder for checkpoints, deleted when done")
    options = parser.parse_args(argv)
    job = runtime.job_of(options)
    of_run, settings = split(job.settings)
    chosen = device.choose(tf32=settings.pop("tf32"))
    about = {"run": (options.condition, options.seed), "inputs": [options.data]}
    with resumable(options.checkpoint, job, **about) as checkpoint:
        folder = checkpoint.folder / "snapshots"
        run = Run(options.data, **of_run, seed=options.seed, device=chosen)
        curve = train(run, **settings, folder=folder, checkpoint=checkpoint)
        curve.insert(0, "condition", options.condition)
        curve.insert(1, "seed", options.seed)
        artefacts.write_table(curve, options.curve, job=job)
        folder.mkdir(exist_ok=True)
        artefacts.replace_folder(folder, options.snapshots)
        checkpoint.remove()


if __name__ == "__main__":
    runtime.run(main)
