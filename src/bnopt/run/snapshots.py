"""Snapshots of a run: its weights θ_t and buffers before the update of step t, one file per step.

A file of tensors has PyTorch's own format, followed by a checksum. Reading it runs no code from the
file and detects damage. A snapshot holds one long tensor per dtype: PyTorch reads that faster than the
many small tensors of a net.
"""

import hashlib
import io
import math
import re
from pathlib import Path

import torch

from bnopt.files import records
from bnopt.files.artefacts import atomic

DIGITS = 64
NAME = re.compile(r"step(\d{6,})\.pt")


def write(state, folder, step):
    """Write a state dict as the snapshot of `step`."""
    with atomic(_file(folder, step)) as partial:
        partial.write_bytes(dump(_flattened(state)))


def remove(folder, step):
    """Remove the snapshot of `step` if there is one."""
    _file(folder, step).unlink(missing_ok=True)


def steps(folder):
    """Return the steps that have a snapshot, in order; a line names files that are no snapshots.

    Such files are copies that an editor or a synchronisation leaves: "step000004 (conflicted copy).pt".
    """
    files = sorted(Path(folder).glob("step*"))
    found = [file for file in files if NAME.fullmatch(file.name)]
    if ignored := [file.name for file in files if file not in found]:
        print(f"{folder}: ignored, no snapshots: {', '.join(ignored)}")
    return sorted(int(NAME.fullmatch(file.name)[1]) for file in found)


def expected(curve, every):
    """Return the steps of which a run with this curve has a snapshot: every so many until it diverged."""
    curve = curve[:-1]  # the last row is about the weights after all steps
    steps = curve["step"][curve["diverged"] == 0].tolist()
    return [step for step in steps if every and step % every == 0]


def read(folder, step, device):
    """Read the state dict of `step`; raise StudyError if the file is damaged."""
    file = _file(folder, step)
    content = file.read_bytes()
    try:
        return _restored(**parse(content, device))
    except Exception as error:  # torch raises errors of many kinds for damaged bytes
        raise records.damaged(
            file, "expected the weights of a run, found a damaged file", output=folder
        ) from error


def _file(folder, step):
    return Path(folder) / f"step{step:06d}.pt"


def _flattened(state):
    """Return the tensors of a state dict as one tensor per dtype, and the layout that cuts it up again.

    layout: name, dtype, shape and strides of every tensor, in order.
    """
    layout, parts = [], {}
    for name, tensor in state.items():
        dense = tensor.clone()  # without gaps in memory
        dtype = str(dense.dtype)
        layout.append((name, dtype, list(dense.shape), list(dense.stride())))
        parts.setdefault(dtype, []).append(dense.as_strided((dense.numel(),), (1,)))
    return {"layout": layout, "values": {dtype: torch.cat(of_dtype) for dtype, of_dtype in parts.items()}}


def _restored(layout, values):
    """Return the state dict of which these are the layout and the values."""
    state, starts = {}, dict.fromkeys(values, 0)
    for name, dtype, shape, strides in layout:
        start, size = starts[dtype], math.prod(shape)
        # A copy has memory of its own, aligned as that of a net in training: results agree bit for bit.
        state[name] = values[dtype][start : start + size].as_strided(shape, strides).clone()
        starts[dtype] = start + size
    return state


def dump(value):
    """Return the bytes of a file that holds a (nested) value of tensors, numbers and texts.

    They are the output of `torch.save`, followed by its SHA-256 in hexadecimal digits. `torch.load`
    reads them too: it ignores the digits.
    """
    # In memory first: if torch wrote to a full disk itself, it would raise another error than OSError.
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    return buffer.getbuffer()


def parse(content, device):
    """Return the value in the bytes of a file, on a device; raise ValueError if they are damaged."""
    archive, expected = memoryview(content)[:-DIGITS], bytes(content[-DIGITS:])
    if hashlib.sha256(archive).hexdigest().encode() != expected:
        raise ValueError("its checksum does not match its content")
    return torch.load(io.BytesIO(archive), map_location=device, weights_only=True)
