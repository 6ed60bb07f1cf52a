"""The snapshots of a run: the weights and buffers θ_t before the update of step t, a file per step."""

import pickle
from pathlib import Path

import torch

from bnopt.runtime import StudyError


def write(state, folder, step):
    """Write a state dict as the snapshot of `step`."""
    torch.save(state, _file(folder, step))


def remove(folder, step):
    """Remove the snapshot of `step` if there is one."""
    _file(folder, step).unlink(missing_ok=True)


def steps(folder):
    """Return the steps that have a snapshot, in order."""
    return sorted(int(file.stem.removeprefix("step")) for file in Path(folder).glob("step*.pt"))


def read(folder, step, device):
    """Read the state dict of `step`; raise StudyError if the file is damaged. Runs no code from the file."""
    file = _file(folder, step)
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise StudyError(
            f"{file}: expected the weights of a run, found a damaged file; "
            f"delete the folder {folder} and call snakemake again to train the run anew"
        ) from error


def _file(folder, step):
    return Path(folder) / f"step{step:06d}.pt"
