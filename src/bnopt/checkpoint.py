"""What a job that is killed goes on from: its state so far, in a folder of its own until it is done."""

import json
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from bnopt import artefacts, records, runtime, tensors

# Seconds from one checkpoint to the next, at least; more if writing takes more than this share of the time.
SECONDS = 10.0
SHARE = 0.01


class Checkpoint:
    """The checkpoint of one job; its folder also takes what the job has finished of its results."""

    def __init__(self, folder, made_by, inputs, signals):
        self.folder, self.made_by, self.inputs, self.signals = Path(folder), made_by, inputs, signals
        self.file = self.folder / "checkpoint.pt"
        self.seconds = _interval()
        self.written, self.cost = time.monotonic(), 0.0

    def read(self):
        """Return the state to go on from, or None; then the folder is empty.

        A state of other settings, code, inputs or PyTorch is not used, nor is a damaged one. To be
        called once all plug-ins are loaded.
        """
        self.identity = self._identity()
        state = None
        if self.file.exists():
            try:
                kept = tensors.parse(self.file.read_bytes(), "cpu")
                if kept["identity"] == self.identity:
                    state = kept["state"]
                else:
                    print(f"{self.file}: of other settings, code or inputs: not used")
            except Exception:  # whatever torch makes of bytes that no job has written
                print(f"{self.file}: damaged: not used")
        if state is None:
            artefacts.remove_folder(self.folder)
            self.folder.mkdir(parents=True)
        return state

    def due(self):
        """Return whether it is time to write a checkpoint: after an interval, or when told to stop."""
        interval = max(self.seconds, self.cost / SHARE)
        return self.signals.received is not None or time.monotonic() - self.written >= interval

    def write(self, state):
        """Write a state, a dict of tensors, numbers and texts; raise Stopped if the job was told to stop."""
        start = time.monotonic()
        with artefacts.atomic(self.file) as partial:
            partial.write_bytes(tensors.dump({"identity": self.identity, "state": state}))
        self.written = time.monotonic()
        self.cost = self.written - start
        if self.signals.received is not None:
            raise runtime.Stopped(f"what was done is kept in {self.folder}")

    def remove(self):
        """Remove the folder: the job is done, or its state is of no use."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _identity(self):
        """Return a text that is the same only for a job that would do the same."""
        about = {
            "options": {name: value for name, value in vars(self.made_by).items() if name != "code"},
            "modules": records.modules(self.made_by.stage),
            "torch": torch.__version__,
            "gpu": records.hardware()["gpu"],
            "inputs": [_listing(Path(path)) for path in self.inputs if path],
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
def keeping(folder, *, made_by, inputs):
    """Yield the checkpoint of a job, told to which by its options; signals to stop it are noticed.

    inputs: paths of what it reads; None for what it does not need.
    """
    with runtime.noticing_signals() as signals:
        yield Checkpoint(folder, made_by, inputs, signals)
