"""Checkpoints: the state of an unfinished job, in its own folder; a job that was killed resumes from it."""

import json
import math
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from bnopt import runtime
from bnopt.files import artefacts, records
from bnopt.run import snapshots

# Minimum seconds between two checkpoints. The interval grows if writing would take more than this share of
# the time, unless the environment sets it.
SECONDS = 10.0
SHARE = 0.01


class Checkpoint:
    """The checkpoint of one job; its folder also holds the results that the job has finished.

    about: a dict of plain values, `stage` among them; it is equal only for jobs with equal results.
    """

    def __init__(self, folder, about, signals):
        self.folder, self.about, self.signals = Path(folder), about, signals
        self.file = self.folder / "checkpoint.pt"
        self.seconds, self.share = _interval()
        self.written, self.cost = time.monotonic(), 0.0

    def read(self):
        """Return the state to resume from; if there is none, empty the folder and return None.

        A checkpoint is ignored if it is damaged or was written with other settings, code, inputs,
        PyTorch version or device. Call this after all plug-ins are loaded.
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
            except Exception:  # torch raises errors of many kinds for damaged bytes
                print(f"{self.file}: damaged: ignored")
        if state is None:
            artefacts.remove_folder(self.folder)
            self.folder.mkdir(parents=True)
        return state

    def due(self):
        """Return whether to write a checkpoint now: the interval is over, or a signal was received."""
        interval = max(self.seconds, self.cost / self.share)
        return self.signals.received is not None or time.monotonic() - self.written >= interval

    def write(self, state):
        """Write a state, a dict of tensors, numbers and texts; raise Stopped if a signal was received."""
        start = time.monotonic()
        with artefacts.atomic(self.file) as partial:
            partial.write_bytes(snapshots.dump({"identity": self.identity, "state": state}))
        self.written = time.monotonic()
        self.cost = self.written - start
        if self.signals.received is not None:
            raise runtime.Stopped(f"its state is in {self.folder}")

    def remove(self):
        """Remove the folder: the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _identity(self):
        """Return a text that is equal only for jobs with equal results."""
        about = self.about | {
            "modules": records.modules(self.about["stage"]),
            "torch": torch.__version__,
            "gpu": records.hardware()["gpu"],
        }
        return json.dumps(about, sort_keys=True)


def _interval():
    """Return the minimum seconds between two checkpoints, and the share of the time that they may take."""
    wish = os.environ.get("BNOPT_CHECKPOINT_SECONDS")
    if wish is None:
        return SECONDS, SHARE
    try:
        return float(wish), math.inf
    except ValueError:
        raise runtime.StudyError(
            f"BNOPT_CHECKPOINT_SECONDS: expected a number of seconds, found {wish!r}; unset it"
        ) from None


def _listing(path):
    """Return name, size and time of change of a file, or of every snapshot in a folder."""
    files = [path]
    if path.is_dir():
        files = [file for file in sorted(path.iterdir()) if snapshots.NAME.fullmatch(file.name)]
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]


@contextmanager
def resumable(folder, job, *, run, inputs):
    """Yield the checkpoint of a job; inside the block, SIGTERM and Ctrl-C do not end the process.

    Instead, the next checkpoint is due at once, and writing it raises Stopped.
    run: condition and seed; inputs: paths of the files and folders that the job reads, None for one that
    it does not need.
    """
    with runtime.noticing_signals() as signals:
        about = {
            "stage": job.stage,
            "settings": job.settings,
            "run": run,
            "inputs": [_listing(Path(path)) for path in inputs if path],
        }
        yield Checkpoint(folder, about, signals)
