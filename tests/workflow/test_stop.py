"""Told to stop, snakemake ends after its jobs, which keep what they have done."""

import copy
import os
import signal
import time

import pytest

LONGEST_WAIT = 120


def test_snakemake_ends_after_the_job_that_keeps_what_it_has_done(
    tmp_path, new_study, two_tasks_config, monkeypatch
):
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    config = copy.deepcopy(two_tasks_config)
    config["scales"]["tiny"]["vgg"]["steps"] = 100_000
    study = new_study(tmp_path / "study", config)
    process = study.start("results/tiny/runs/vgg_none/seed0/training.csv")
    kept = study.results / "unfinished" / "train-vgg_none-seed0" / "checkpoint.pt"
    deadline = time.monotonic() + LONGEST_WAIT
    while not kept.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # To all processes at once, as a terminal, a cluster or a shutdown does.
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=LONGEST_WAIT) != 0
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    log = study.folder / "logs/tiny/train/vgg_none/seed0.log"
    assert "stopped: what was done is kept in" in log.read_text()
