"""Files of tensors: PyTorch's own format and a check sum; none is executed, a damaged one is noticed."""

import hashlib
import io

import torch

DIGITS = 64


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
