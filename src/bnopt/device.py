"""Where tensors live. A choice of the machine at hand, never of the study: no job's settings name it."""

import fcntl
import itertools
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import torch

from bnopt.runtime import StudyError

# Open files whose locks say which GPUs this process uses; they end with the process, however it ends.
_held = []


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
    place = torch.device("cuda", least_used(gpus))
    torch.cuda.set_device(place)
    return place


def be_repeatable():
    """Fix what makes two runs on one machine agree bit for bit.

    One CPU thread a job (two threads may sum in another order), and deterministic kernels.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else every new tensor is filled before it is written: 3 to 5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def least_used(gpus):
    """Return which of these GPUs, by their names, fewest processes hold; hold it until this one ends.

    Share n of a GPU is the lock of a file: the first share of any GPU is taken before the second of one.
    """
    folder = Path(tempfile.gettempdir(), f"bnopt-gpus-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    shares = ((share, place) for share in itertools.count() for place in range(len(gpus)))
    for share, place in shares:
        file = (folder / f"{gpus[place]}-{share}").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            _held.append(file)
            return place


@contextmanager
def memory_explained():
    """Raise StudyError where the GPU's memory is full, with what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise StudyError(
            f"memory of the GPU: expected room for this job, found it full ({str(error).split('.')[0]}); "
            "let fewer jobs share it (--resources gpu=1), use a GPU with more memory, a smaller batch_size "
            "or net, or the processor (--config device=cpu). What was done is kept: call snakemake again "
            "to go on"
        ) from error
