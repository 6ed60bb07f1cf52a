"""Run a scale seed by seed: complete seeds are stored, and the time limit stops the tool without any loss."""

import shutil
import subprocess
import sys

import pytest

from bnopt.files.artefacts import read_table

# The hours are over once a run has written a checkpoint, so the test does not depend on the machine's speed.
OVER_WHEN_KEPT = """
import runpy, subprocess, sys, time
from pathlib import Path

class Popen(subprocess.Popen):
    def wait(self, timeout=None):
        assert timeout is None or 3500 < timeout <= 3600  # of one hour
        while timeout and self.poll() is None:
            if list(Path("results/tiny/unfinished").glob("*/checkpoint.pt")):
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return super().wait()

subprocess.Popen = Popen
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def repository(tmp_path, checkout, tiny_config, pruned, new_study):
    """A checkout whose config.yaml is a small study: two conditions, training tables only, seeds 3 and 1."""
    folder = tmp_path / "repository"
    shutil.copytree(checkout, folder)
    config = pruned(tiny_config, conditions=["vgg_none", "vgg_batch"], tables=["training"])
    config["scales"]["tiny"]["seeds"] = [3, 1]
    config["scales"]["tiny"]["vgg"]["steps"] = 200  # enough for an interruption
    return new_study(folder, config, checkout=folder)


def call(repository, *arguments, by=()):
    """Call the tool; return the finished process. Only interrupted jobs may print tracebacks."""
    command = [sys.executable, *by, "tools/seed_by_seed.py", "tiny", *map(str, arguments)]
    done = subprocess.run(command, **repository.surroundings())
    assert 'seed_by_seed.py", line' not in done.stdout, done.stdout
    return done


def test_seeds_are_added_until_the_hours_are_over_and_kept_when_complete(repository, monkeypatch):
    kept = repository.folder / "docs" / "results" / "tiny"
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    stopped = call(repository, 1, by=["-c", OVER_WHEN_KEPT])
    assert stopped.returncode == 0, stopped.stdout
    assert "the hours are over" in stopped.stdout
    assert not kept.exists()
    unfinished = list(repository.results.glob("unfinished/train-*/checkpoint.pt"))
    assert unfinished

    done = call(repository, 1, "device=cpu")
    assert done.returncode == 0, done.stdout
    begun = [line for line in done.stdout.splitlines() if line.startswith("seeds ")]
    assert begun == ["seeds 3 of tiny", "seeds 3,1 of tiny"]
    logs = [log.read_text() for log in (repository.folder / "logs/tiny/train").rglob("*.log")]
    assert sum("resuming at step" in log for log in logs) == len(unfinished)
    assert done.stdout.count(f"{kept}: ") == 2
    assert set(read_table(kept / "claims.csv")["n"]) == {2}
    runs = repository.results / "runs" / "vgg_batch"
    assert sorted(folder.name for folder in runs.iterdir()) == ["seed1", "seed3"]


def test_what_fails_ends_it_and_is_not_kept(repository):
    done = call(repository, 1, "images=nowhere")
    assert done.returncode != 0
    assert "nowhere" in done.stdout
    assert not (repository.folder / "docs" / "results" / "tiny").exists()


def test_no_hours_are_over_at_once(repository):
    done = call(repository, 0)
    assert done.returncode == 0, done.stdout
    assert "the hours are over" in done.stdout
    assert not repository.results.exists()


@pytest.mark.parametrize("arguments", [[], ["soon"]])
def test_without_hours_it_says_what_it_expects(repository, arguments):
    done = call(repository, *arguments)
    assert done.returncode == 1
    assert done.stdout.startswith("error: expected a scale (tiny) and a number of hours, found tiny")
