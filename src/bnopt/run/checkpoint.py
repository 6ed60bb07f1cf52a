"""Checkpoints: the state of an unfinished job, in a folder of its own, from which it resumes when killed."""

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from bnopt import runtime
from bnopt.files import artefacts, records
from bnopt.run import snapshots

# Least seconds between two checkpoints; more if writing would take more than this share of the time.
SECONDS = 10.0
SHARE = 0.01


class Checkpoint:
    """The checkpoint of one job; its folder also takes the results that the job has finished.

    about: values that are the same only for a job that would do the same.
    """

    def __init__(self, folder, about, signals):
        self.folder, self.about, self.signals = Path(folder), about, signals
        self.file = self.folder / "checkpoint.pt"
        self.seconds = _interval()
        self.written, self.cost = time.monotonic(), 0.0

    def read(self):
        """Return the state to resume from, or None; then the folder is empty.

        A checkpoint is ignored if it is damaged or was written with other settings, code, inputs,
        PyTorch version or device. Call this once all plug-ins are loaded.
        """
        self.identity = self._identity()
        state = None
        if self.file.exists():
            try:
                found = snapshots.parse(self.file.read_bytes(), "cpu")
                if found["identity"] == self.identity:
                    state = found["state"]
                else:
                    print(f"{self.file}: written with other settings, code or inputs: ignored")
            except Exception:  # whatever torch makes of bytes that no job has written
                print(f"{self.file}: damaged: ignored")
        if state is None:
            artefacts.remove_folder(self.folder)
            self.folder.mkdir(parents=True)
        return state

    def due(self):
        """Return whether to write a checkpoint now: the interval is over, or a signal asks to stop."""
        interval = max(self.seconds, self.cost / SHARE)
        return self.signals.received is not None or time.monotonic() - self.written >= interval

    def write(self, state):
        """Write a state, a dict of tensors, numbers and texts; then raise Stopped if a signal asks for it."""
        start = time.monotonic()
        with artefacts.atomic(self.file) as partial:
            partial.write_bytes(snapshots.dump({"identity": self.identity, "state": state}))
        self.written = time.monotonic()
        self.cost = self.written - start
        if self.signals.received is not None:
            raise runtime.Stopped(f"its state is in {self.folder}")

    def remove(self):
        """Remove the folder: the job is done, or its state is of no use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _identity(self):
        """Return a text that is the same only for a job that would do the same."""
        about = self.about | {
            "modules": records.modules(self.about["stage"]),
            "torch": torch.__version__,
            "gpu": records.hardware()["gpu"],
        }
        return json.dumps(about, sort_keys=True)


def _interval():
    """Return the seconds from one checkpoint to the next."""
    wish = os.environ.get("BNOPT_CHECKPOINT_SECONDS", SECONDS)
    try:
        return float(wish)
    except ValueError:
        raise runtime.StudyError(
            f"BNOPT_CHECKPOINT_SECONDS: expected a number of seconds, found {wish!r}; unset it"
        ) from None


def _listing(path):
    """Return names, sizes and times of a file, or of the files in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


@contextmanager
def resumable(folder, job, *, run, inputs):
    """Yield the checkpoint of a job; SIGTERM and Ctrl-C are noticed inside the block.

    run: condition and seed; inputs: paths of the files and folders it reads, None for one it does not need.
    """
    with runtime.noticing_signals() as signals:
        about = {
            "stage": job.stage,
            "settings": job.settings,
            "run": run,
            "inputs": [_listing(Path(path)) for path in inputs if path],
        }
        yield Checkpoint(folder, about, signals)
