"""Snapshots of a run: the weights and buffers θ_t before the update of step t, a file per step.

Files of tensors are in PyTorch's own format with a checksum. Reading runs no code from the file, and
notices damage.
"""

import hashlib
import io
from pathlib import Path

import torch

from bnopt.files import records
from bnopt.files.artefacts import atomic

DIGITS = 64


def write(state, folder, step):
    """Write a state dict as the snapshot of `step`."""
    with atomic(_file(folder, step)) as partial:
        partial.write_bytes(dump(state))


def remove(folder, step):
    """Remove the snapshot of `step` if there is one."""
    _file(folder, step).unlink(missing_ok=True)


def steps(folder):
    """Return the steps that have a snapshot, in order."""
    return sorted(int(file.stem.removeprefix("step")) for file in Path(folder).glob("step*.pt"))


def read(folder, step, device):
    """Read the state dict of `step`; raise StudyError if the file is damaged."""
    file = _file(folder, step)
    content = file.read_bytes()
    try:
        return parse(content, device)
    except Exception as error:  # whatever torch makes of bytes that no run has written
        raise records.damaged(
            file, "expected the weights of a run, found a damaged file", output=folder
        ) from error


def _file(folder, step):
    return Path(folder) / f"step{step:06d}.pt"


def dump(value):
    """Return a (nested) value of tensors, numbers and texts as the bytes of a file.

    These are what `torch.save` writes, which `torch.load` reads with or without what follows: the
    SHA-256 of it, in hexadecimal digits.
    """
    # Through memory: written by torch itself, a full disk would be an error of another kind.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    return buffer.getbuffer()


def parse(content, device):
    """Return the value of such a file, on a device; raise ValueError if it is damaged."""
    archive, expected = memoryview(content)[:-DIGITS], bytes(content[-DIGITS:])
    if hashlib.sha256(archive).hexdigest().encode() != expected:
        raise ValueError("its check sum does not match its content")
    return torch.load(io.BytesIO(archive), map_location=device, weights_only=True)
