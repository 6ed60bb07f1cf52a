"""The snapshots of a run: the weights and buffers θ_t before the update of step t, a file per step."""

import io
from pathlib import Path

import torch

from bnopt.runtime import StudyError


def write(state, folder, step):
    """Write a state dict as the snapshot of `step`."""
    # Through memory: written by torch itself, a full disk would be an error of another kind.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    _file(folder, step).write_bytes(buffer.getbuffer())


def remove(folder, step):
    """Remove the snapshot of `step` if there is one."""
    _file(folder, step).unlink(missing_ok=True)


def steps(folder):
    """Return the steps that have a snapshot, in order."""
    return sorted(int(file.stem.removeprefix("step")) for file in Path(folder).glob("step*.pt"))


def read(folder, step, device):
    """Read the state dict of `step`; raise StudyError if the file is damaged. Runs no code from the file."""
    file = _file(folder, step)
    with open(file, "rb") as opened:
        try:
            return torch.load(opened, map_location=device, weights_only=True)
        except Exception as error:  # whatever the reader of a zip file makes of damaged bytes
            raise StudyError(
                f"{file}: expected the weights of a run, found a damaged file; "
                f"delete the folder {folder} and call snakemake again to train the run anew"
            ) from error


def _file(folder, step):
    return Path(folder) / f"step{step:06d}.pt"
