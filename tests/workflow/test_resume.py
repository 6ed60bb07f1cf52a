"""A study killed many times ends with the same bytes as an uninterrupted one."""

import copy
import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from contextlib import contextmanager, suppress

import pytest

from bnopt.files import records

# CI uses 20 kills. Each kill takes a few seconds.
KILLS = int(os.environ.get("BNOPT_TEST_KILLS", "4"))
SNAPSHOTS = 15
# Longest wait: START seconds plus PATIENCE times the duration of the uninterrupted study.
PATIENCE = 5
START = 60
VERDICTS = "results/tiny/statistics/claims.csv"


@pytest.fixture
def long_config(pair_config):
    """Two conditions with enough steps and snapshots for kills during training and during probing."""
    config = copy.deepcopy(pair_config)
    every = max(31, 15 + 2 * KILLS)  # odd
    config["scales"]["tiny"]["vgg"] |= {"steps": SNAPSHOTS * every, "snapshot_every": every}
    config["probes"]["along_gradient"]["vgg"]["step_sizes"] = [0.05 * i for i in range(1, 41)]
    return config


@contextmanager
def called(study, *arguments):
    """Call snakemake; at the end of the block, kill it and its jobs, even if the test fails."""
    process = study.start(*arguments)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def came(condition, study, process, seconds):
    """Wait until a condition holds; return False if the process finished first."""
    deadline = time.monotonic() + seconds
    said = study.folder / "said.txt"
    while not condition():
        if process.poll() is not None:
            assert process.returncode == 0, said.read_text()
            return False
        assert time.monotonic() < deadline, f"waited for {seconds:.0f} s in vain:\n{said.read_text()}"
        time.sleep(0.01)
    return True


def written(folder, sign):
    """Return the files that match the pattern `sign`, each with its modification time."""
    found = set()
    for file in folder.glob(sign):
        with suppress(FileNotFoundError):  # removed in the meantime
            found.add((file, file.stat().st_mtime_ns))
    return found


def killed(study, sign, times, delay, seconds, *arguments):
    """Call snakemake; kill it and its jobs `delay` seconds after a file that matches `sign` was written.

    times: how often a job must have written it. Returns whether it was killed: the work may finish first.
    """
    shutil.rmtree(study.folder / "logs", ignore_errors=True)  # later logs come from this call
    before, since = written(study.folder, sign), set()

    def often_enough():
        since.update(written(study.folder, sign) - before)
        return any(count >= times for count in Counter(file for file, _time in since).values())

    with called(study, VERDICTS, *arguments) as process:
        if not came(often_enough, study, process, seconds):
            return False
        end = time.monotonic() + delay
        return came(lambda: time.monotonic() > end, study, process, seconds)


def went_on(study):
    """Return whether a job of the last call resumed: the first progress in its log is above zero."""
    logs = [log.read_text(errors="replace") for log in (study.folder / "logs").rglob("seed*.log")]
    shown = [re.search(r"\| +(\d+)/\d+ \[", log) for log in logs]
    return any(first and int(first[1]) for first in shown)


def seconds_of(study, stage):
    """Return the mean duration of a stage's jobs."""
    sign = "runs/*/*/training.csv" if stage == "train" else f"probes/{stage}/*/seed*.csv"
    seconds = [records.read(table)["seconds"] for table in study.results.glob(sign)]
    return sum(seconds) / len(seconds)


def test_a_study_killed_at_random_moments_ends_with_the_same_bytes(
    tmp_path, new_study, long_config, monkeypatch
):
    undisturbed = new_study(tmp_path / "undisturbed", long_config)
    start = time.monotonic()
    undisturbed.run(VERDICTS)
    longest = START + PATIENCE * (time.monotonic() - start)

    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    study = new_study(tmp_path / "killed", long_config)
    rng = random.Random(0)
    in_the_midst = 0
    # Two thirds of the kills hit training, the rest hit a probe, each at a random moment. Four in five wait
    # for a second checkpoint, as the first is of the job's start; the fifth only for a log file, so it can
    # hit the start of a job. The delays of a stage add up to half the duration of a job on average.
    stages = ["train"] * (2 * KILLS // 3) + ["along_gradient"] * (KILLS - 2 * KILLS // 3)
    for number, stage in enumerate(stages):
        signs = [(f"results/tiny/unfinished/{stage}-*/checkpoint.pt", 2), (f"logs/tiny/{stage}/*/*.log", 1)]
        delay = rng.random() * seconds_of(undisturbed, stage) / stages.count(stage)
        # The first kill leaves a lock. Later calls ignore it, because --unlock takes as long as a start.
        passing = ["--nolock"] if number else []
        assert killed(study, *signs[number % 5 == 4], delay, longest, *passing), f"done before kill {number}"
        in_the_midst += went_on(study)
    monkeypatch.delenv("BNOPT_CHECKPOINT_SECONDS")
    study.run("--unlock")
    study.run(VERDICTS)

    assert in_the_midst >= KILLS / 4
    assert study.tables() == undisturbed.tables()
    names = sorted(f.relative_to(study.results) for f in study.results.rglob("step*.pt"))
    assert len(names) == 4 * SNAPSHOTS
    for name in names:
        assert (study.results / name).read_bytes() == (undisturbed.results / name).read_bytes()
    assert list(study.results.glob("unfinished/*")) == []


def test_told_to_stop_as_a_cluster_does_a_run_goes_on_where_it_was(tmp_path, new_study, long_config):
    """SIGTERM reaches snakemake and the job. No checkpoint was due, so the job writes one on the signal."""
    study = new_study(tmp_path / "study", long_config)
    target = "results/tiny/runs/vgg_batch/seed0/training.csv"
    run = study.results / "unfinished" / "train-vgg_batch-seed0"
    with called(study, target) as process:
        begun = came(lambda: list(run.glob("snapshots/step*0.pt")), study, process, 5 * START)
        assert begun, "done before it was told to stop"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(timeout=5 * START) != 0
        # Snakemake has waited for its jobs.
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)
    log = study.folder / "logs/tiny/train/vgg_batch/seed0.log"
    assert f"stopped: its state is in {run.relative_to(study.folder)}" in log.read_text()
    assert "Traceback" not in log.read_text()

    study.run(target)
    assert int(re.search(r"resuming at step (\d+)", log.read_text())[1]) > 0
    assert not run.exists()
