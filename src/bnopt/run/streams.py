"""Randomness without state: every draw is a function of (seed, stream, ...).

Therefore a run can resume at any step, and a probe can repeat the batch and the noise of step t.
Runs of different conditions at one seed are paired: same initial weights, same order of batches.
"""

import hashlib
from functools import lru_cache

import torch


def generator(seed, *stream, device="cpu"):
    """Return a generator whose state depends only on `seed` and the names and numbers in `stream`."""
    name = "/".join(map(str, (seed, *stream)))
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1
    return torch.Generator(device).manual_seed(key)


@lru_cache(maxsize=2)
def _order(seed, epoch, samples, device):
    return torch.randperm(samples, generator=generator(seed, "order", epoch)).to(device)


def batch_indices(seed, step, samples, batch_size, device="cpu"):
    """Return the indices of the samples in the batch of `step`.

    Every epoch is a new permutation, cut into whole batches; the rest of it is left out. The order of an
    epoch is copied to the device once, so that no step waits for it.
    """
    epoch, position = divmod(step, samples // batch_size)
    return _order(seed, epoch, samples, device)[position * batch_size : (position + 1) * batch_size]
