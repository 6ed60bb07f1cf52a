"""A study that is killed again and again ends with the bytes of one that ran undisturbed."""

import copy
import os
import random
import re
import signal
import time

import pytest

# All 20 in CI; each costs some seconds.
KILLS = int(os.environ.get("BNOPT_TEST_KILLS", "4"))
STEPS_PER_KILL = 150
LONGEST_WAIT = 120


@pytest.fixture
def long_config(pair_config):
    """The two conditions with enough steps and snapshots to be killed in both."""
    config = copy.deepcopy(pair_config)
    config["scales"]["tiny"]["vgg"] |= {"steps": STEPS_PER_KILL * KILLS, "snapshot_every": 10 * KILLS}
    config["probes"]["along_gradient"]["vgg"]["step_sizes"] = [0.05 * i for i in range(1, 41)]
    return config


def killed_when(study, sign, delay):
    """Call snakemake; kill it with all its jobs some time after a file like `sign` is there.

    Returns whether it was killed; it may finish before.
    """
    process = study.start("results/tiny/statistics/claims.csv")
    deadline = time.monotonic() + LONGEST_WAIT
    while process.poll() is None and not list(study.results.glob(sign)):
        assert time.monotonic() < deadline, f"no {sign} within {LONGEST_WAIT} s"
        time.sleep(0.01)
    time.sleep(delay)
    finished = process.poll() is not None
    if not finished:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return not finished


def test_a_study_killed_at_random_moments_ends_with_the_same_bytes(
    tmp_path, new_study, long_config, monkeypatch
):
    undisturbed = new_study(tmp_path / "undisturbed", long_config)
    undisturbed.run("results/tiny/statistics/claims.csv")

    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    study = new_study(tmp_path / "killed", long_config)
    rng = random.Random(0)
    went_on = 0
    # Two thirds while a run trains, the rest while a probe measures, at any moment of either.
    for number in range(KILLS):
        sign = "unfinished/train-*" if number < 2 * KILLS // 3 else "unfinished/along_gradient-*"
        assert killed_when(study, sign, delay=2.5 * rng.random()), f"finished before kill {number}"
        went_on += any(study.results.glob("unfinished/*/checkpoint.pt"))
        study.run("--unlock")
    study.run("results/tiny/statistics/claims.csv")

    assert went_on >= KILLS / 2
    assert study.tables() == undisturbed.tables()
    names = sorted(f.relative_to(study.results) for f in study.results.rglob("step*.pt"))
    assert len(names) == 4 * STEPS_PER_KILL // 10
    for name in names:
        assert (study.results / name).read_bytes() == (undisturbed.results / name).read_bytes()
    assert list(study.results.glob("unfinished/*")) == []


def test_told_to_stop_as_a_cluster_does_a_run_goes_on_where_it_was(tmp_path, new_study, long_config):
    """SIGTERM reaches the job, not only snakemake; no checkpoint was due yet, so one is written then."""
    study = new_study(tmp_path / "study", long_config)
    target = "results/tiny/runs/vgg_batch/seed0/training.csv"
    process = study.start(target)
    run = study.results / "unfinished" / "train-vgg_batch-seed0"
    deadline = time.monotonic() + LONGEST_WAIT
    while not list(run.glob("snapshots/step*0.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=LONGEST_WAIT) != 0
    log = study.folder / "logs/tiny/train/vgg_batch/seed0.log"
    assert f"stopped: what was done is kept in {run.relative_to(study.folder)}" in log.read_text()
    assert "Traceback" not in log.read_text()

    study.run(target)
    assert int(re.search(r"going on at step (\d+)", log.read_text())[1]) > 0
    assert not run.exists()
