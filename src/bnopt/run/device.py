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

# Open files whose locks say which GPU this process uses; they end with it, however it ends.
_held = []
# What libraries say of a full memory; only PyTorch's own allocator has an exception for it.
FULL = re.compile("out of memory|ALLOC_FAILED", re.IGNORECASE)


def choose(*, tf32=False):
    """Return the torch device: `BNOPT_DEVICE` (auto, cpu or cuda; auto if unset).

    Of several GPUs it is the one that fewest jobs on this machine use. Sets what `be_repeatable` does.
    tf32: whether float32 products on a GPU may be of TF32, 10 bits of mantissa, which is faster.
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
    """Fix what makes two runs on one machine agree bit for bit.

    One CPU thread a job (two threads may sum in another order), and deterministic kernels.
    """
    torch.set_num_threads(1)
    # Where a kernel has no such variant it warns. `use_deterministic_algorithms` does the same and imports
    # PyTorch's compiler, which takes a job as long as all else before its first step.
    torch.set_deterministic_debug_mode("warn")
    # Else every new tensor is filled before it is written: 3 to 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@cache
def _least_used(gpus):
    """Return the index of a GPU with a free share, the lowest share there is; hold it until the process ends.

    gpus: their names. Share n of a GPU is the lock of a file: the first share of any GPU is taken before the
    second of one. Where files cannot be locked it is the first GPU.
    """
    folder = Path(tempfile.gettempdir(), f"bnopt-gpus-{os.getuid()}")
    shares = ((share, index) for share in itertools.count() for index in range(len(gpus)))
    try:
        folder.mkdir(exist_ok=True)
        return next(index for share, index in shares if _hold(folder / f"{gpus[index]}-{share}"))
    except OSError as error:
        print(f"{folder}: cannot be locked ({error.strerror}); taking the first GPU")
        return 0


def _hold(path):
    """Return whether the lock of a file was free; then it is this process's."""
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
    """Raise StudyError where the GPU's memory is full, with what to change."""
    try:
        yield
    except RuntimeError as error:
        # Recording may fail a second time while it ends: the reason is then behind the last error.
        reason = error
        while reason and not FULL.search(str(reason)):
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise
        raise StudyError(
            f"memory of the GPU: expected room for this job, found it full ({str(reason).split('.')[0]}); "
            "let fewer jobs share it (--resources gpu=1), use a GPU with more memory, a smaller batch_size "
            "or net, or the processor (--config device=cpu). Its checkpoint stays: call snakemake "
            "again to go on"
        ) from error
