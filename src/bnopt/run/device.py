"""Which device to use. It depends on the machine, not on the study, so no job's settings contain it."""

import fcntl
import itertools
import os
import re
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from bnopt.runtime import StudyError

# Open files whose locks mark the GPU that this process uses; they are released whenever the process ends.
_held = []
# Error messages of a full memory; only PyTorch's own allocator has an exception type for it.
FULL = re.compile("out of memory|ALLOC_FAILED", re.IGNORECASE)


def choose(*, tf32=False):
    """Return the torch device that `BNOPT_DEVICE` asks for (auto, cpu or cuda; auto if unset).

    Of several GPUs, choose the one that the fewest jobs on this machine use. Also call `be_repeatable`.
    tf32: whether a GPU may compute float32 products in TF32, which has 10 bits of mantissa and is faster.
    """
    be_repeatable()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    wish = os.environ.get("BNOPT_DEVICE", "auto")
    if wish not in ("auto", "cpu", "cuda"):
        raise StudyError(f"BNOPT_DEVICE: expected auto, cpu or cuda, found {wish!r}")
    if wish == "cuda" and not torch.cuda.is_available():
        raise StudyError("device: expected a GPU for 'cuda', found none; use auto or cpu")
    if wish == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = [str(torch.cuda.get_device_properties(n).uuid) for n in range(torch.cuda.device_count())]
    device = torch.device("cuda", _least_used(tuple(gpus)))
    torch.cuda.set_device(device)
    return device


def be_repeatable():
    """Set up PyTorch so that two runs on one machine agree bit for bit.

    A job uses one CPU thread, because two threads may sum in another order, and deterministic kernels.
    """
    torch.set_num_threads(1)
    # PyTorch warns where a kernel has no deterministic variant. `use_deterministic_algorithms` does the same,
    # but it imports PyTorch's compiler, which doubles the time until the first step of a job.
    torch.set_deterministic_debug_mode("warn")
    # Otherwise PyTorch fills every new tensor before it is written, which costs 3 to 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@cache
def _least_used(gpus):
    """Return the index of the GPU with the lowest free share; hold this share until the process ends.

    gpus: their names. Share n of a GPU is the lock of a file. The first share of every GPU is used before
    the second share of any. If files cannot be locked, return the first GPU.
    """
    folder = Path(tempfile.gettempdir(), f"bnopt-gpus-{os.getuid()}")
    shares = ((share, index) for share in itertools.count() for index in range(len(gpus)))
    try:
        folder.mkdir(exist_ok=True)
        return next(index for share, index in shares if _hold(folder / f"{gpus[index]}-{share}"))
    except OSError as error:
        print(f"{folder}: cannot be locked ({error.strerror}); using the first GPU")
        return 0


def _hold(path):
    """Lock a file for this process if its lock is free; return whether it was."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True


@contextmanager
def memory_explained():
    """Raise StudyError if the GPU's memory is full; its text lists the remedies."""
    try:
        yield
    except RuntimeError as error:
        # A recording may fail a second time while it is closed. Then the full memory is the cause or the
        # context of the last error.
        reason = error
        while reason and not FULL.search(str(reason)):
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise
        raise StudyError(
            f"memory of the GPU: expected room for this job, found it full ({str(reason).split('.')[0]}); "
            "let fewer jobs share it (--resources gpu=1), use a GPU with more memory, a smaller batch_size "
            "or net, or the processor (--config device=cpu). The job's checkpoint stays: call snakemake "
            "again to resume"
        ) from error
