"""Where tensors live. A choice of the machine at hand, never of the study: no setting names it."""

import os

import torch

from bnopt.runtime import StudyError


def choose():
    """Return the torch device: `BNOPT_DEVICE` (auto, cpu or cuda; auto if unset).

    Also fixes what makes two runs on one machine agree bit for bit: one CPU thread a job (two
    threads may sum in another order), deterministic kernels, and no TF32.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    wish = os.environ.get("BNOPT_DEVICE", "auto")
    if wish not in ("auto", "cpu", "cuda"):
        raise StudyError(f"BNOPT_DEVICE: expected auto, cpu or cuda, found {wish!r}")
    if wish == "cuda" and not torch.cuda.is_available():
        raise StudyError("BNOPT_DEVICE: expected a GPU for 'cuda', found none; use auto or cpu")
    return torch.device("cuda" if torch.cuda.is_available() and wish != "cpu" else "cpu")
