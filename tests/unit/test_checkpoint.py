"""A stopped job resumes from its checkpoint; its results are the same to the bit as without a stop."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bnopt import plugins, runtime
from bnopt.probe import main as probe_main
from bnopt.probe import probe
from bnopt.run import checkpoint, snapshots
from bnopt.run.run import Run
from bnopt.study import study
from bnopt.train import main as train_main
from bnopt.train import train

SOURCE = str(Path(checkpoint.__file__).parents[2])
STEPS, EVERY = 9, 2


class Stopping(checkpoint.Checkpoint):
    """A checkpoint whose job receives SIGTERM before the n-th call of `due`, counted from 0."""

    def stop_at(self, call):
        self.calls = call + 1
        return self

    def due(self):
        self.calls -= 1
        self.signals.received = signal.SIGTERM if self.calls == 0 else None
        return self.calls == 0


@pytest.fixture
def stopping(tmp_path):
    """Function: name, settings -> the checkpoint of a training job that never stops without `stop_at`."""

    def stopping(name="job", **settings):
        about = {"stage": "bnopt.train", "settings": settings}
        signals = SimpleNamespace(received=None)
        return Stopping(tmp_path / "unfinished" / name, about, signals).stop_at(10**9)

    return stopping


@pytest.fixture
def new_run(prepared, sizes_of):
    """Function: norm, task -> a run at seed 0 before its first step."""

    def new_run(norm, task="vgg"):
        return Run(prepared, **sizes_of(task), norm=norm, seed=0, device=torch.device("cpu"))

    return new_run


@pytest.fixture
def trained(new_run, stopping):
    """Function: train a short run, stopped at some steps; return its curve and its snapshots' bytes."""

    def trained(norm, task="vgg", lr=0.1, stops=(), name="job", **more):
        settings = {"lr": lr, "steps": STEPS, "test_every": 4, "snapshot_every": EVERY} | more
        folder = stopping(name).folder / "snapshots"
        for call in [*stops, None]:
            own = stopping(name, norm=norm, task=task, **settings)
            run = new_run(norm, task)
            if call is None:
                curve = train(run, **settings, folder=folder, checkpoint=own)
            else:
                with pytest.raises(runtime.Stopped, match="its state is in"):
                    train(run, **settings, folder=folder, checkpoint=own.stop_at(call))
        return curve, {file.name: file.read_bytes() for file in folder.glob("*.pt")}

    return trained


@pytest.mark.parametrize("norm", plugins.names("norms"))
def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_is_not(trained, norm):
    whole, snapshots_of_whole = trained(norm, name="whole")
    # Calls count from the step at which a run resumes: steps 0, 3, 4, 8.
    curve, snapshots_of_it = trained(norm, stops=[0, 3, 1, 4], name="stopped")
    np.testing.assert_array_equal(curve, whole)
    assert snapshots_of_it == snapshots_of_whole
    assert len(snapshots_of_whole) == 5


@pytest.mark.parametrize("norm", ["none", "batch", "l1", "l2", "linf", "noise"])
def test_a_deep_linear_run_resumes_likewise(trained, norm):
    whole = trained(norm, task="deep_linear", lr=1e-6, name="whole")
    stopped = trained(norm, task="deep_linear", lr=1e-6, stops=[2, 5], name="stopped")
    np.testing.assert_array_equal(stopped[0], whole[0])
    assert stopped[1] == whole[1]


def test_a_run_with_a_warmup_resumes_likewise(trained):
    whole = trained("batch", warmup=0.6, name="whole")
    stopped = trained("batch", warmup=0.6, stops=[2, 2], name="stopped")
    np.testing.assert_array_equal(stopped[0], whole[0])
    assert stopped[1] == whole[1]


def test_a_run_that_diverges_after_a_stop_has_the_same_curve(trained):
    whole = trained("none", lr=1e4, name="whole")
    assert whole[0]["diverged"].any()
    stopped = trained("none", lr=1e4, stops=[1, 1], name="stopped")
    np.testing.assert_array_equal(stopped[0], whole[0])
    assert stopped[1] == whole[1]


@pytest.mark.parametrize("name", ["along_gradient", "theorems", "activations"])
def test_a_probe_that_is_stopped_again_and_again_ends_as_one_that_is_not(
    new_run, run_of, probe_settings, stopping, name
):
    settings = {"lr": 0.1, "probe": name, "settings": probe_settings(name)}
    folder = run_of("noisy_batch").folder
    whole = probe(new_run("noisy_batch"), folder, **settings)
    for call in (0, 5, 1):
        with pytest.raises(runtime.Stopped):
            probe(new_run("noisy_batch"), folder, **settings, checkpoint=stopping().stop_at(call))
    own = stopping()
    passes = count_calls(own, "due")
    table = probe(new_run("noisy_batch"), folder, **settings, checkpoint=own)
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
    assert len(passes) == len(snapshots.steps(folder)) - 6


def count_calls(thing, name):
    calls, original = [], getattr(thing, name)

    def counted():
        calls.append(1)
        return original()

    setattr(thing, name, counted)
    return calls


# -- which checkpoint is used ---------------------------------------------------------------------


@pytest.fixture
def data_file(tmp_path):
    file = tmp_path / "images.npz"
    file.write_bytes(b"images")
    return file


@pytest.fixture
def checkpoint_of(tmp_path, data_file):
    """Function: changes to a job -> the checkpoint of the changed job, always in the same folder."""

    def checkpoint_of(*, settings=None, condition="vgg_batch", seed=3, stage="bnopt.train", code="a"):
        job = runtime.Job(stage, settings or {"lr": 0.1, "norm": "ü"}, code)
        inputs = [data_file, None]
        folder = tmp_path / "unfinished" / "job"
        with checkpoint.resumable(folder, job, run=(condition, seed), inputs=inputs) as found:
            return found

    return checkpoint_of


def write_one(found):
    assert found.read() is None
    found.write({"step": 7})
    return found


def test_a_checkpoint_of_the_same_job_is_used(checkpoint_of):
    write_one(checkpoint_of())
    assert checkpoint_of().read() == {"step": 7}
    assert checkpoint_of(settings={"norm": "ü", "lr": 0.1}).read() == {"step": 7}
    # The fingerprint of the code covers modules that the job does not load; its own are compared instead.
    assert checkpoint_of(code="b").read() == {"step": 7}


@pytest.mark.parametrize(
    "change",
    ["settings", "condition", "seed", "stage", "code", "input", "input's time", "torch", "gpu"],
)
def test_a_checkpoint_of_another_job_is_ignored_and_removed(
    checkpoint_of, data_file, monkeypatch, capsys, change
):
    other = {}
    (write_one(checkpoint_of()).folder / "snapshots").mkdir()
    if change == "settings":
        other["settings"] = {"lr": 0.2, "norm": "ü"}
    elif change == "condition":
        other["condition"] = "vgg_none"
    elif change == "seed":
        other["seed"] = 4
    elif change == "stage":
        other["stage"] = "bnopt.probe"
    elif change == "code":
        monkeypatch.setattr(checkpoint.records, "modules", lambda stage: {"bnopt.train": "changed"})
    elif change == "torch":
        monkeypatch.setattr(checkpoint.torch, "__version__", "0.1")
    elif change == "gpu":
        monkeypatch.setattr(checkpoint.records, "hardware", lambda: {"gpu": "another"})
    elif change == "input":
        times = data_file.stat()
        data_file.write_bytes(b"others!")
        os.utime(data_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        os.utime(data_file, (0, 0))
    found = checkpoint_of(**other)
    assert found.read() is None
    assert list(found.folder.iterdir()) == []
    assert "written with other settings, code or inputs: ignored" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_ignored(checkpoint_of, capsys):
    found = write_one(checkpoint_of())
    content = found.file.read_bytes()
    for damaged in (b"", content[:-1], content[:99] + b"x" + content[100:], content * 2):
        found.file.write_bytes(damaged)
        assert checkpoint_of().read() is None
        assert "damaged: ignored" in capsys.readouterr().out
        found.folder.mkdir(exist_ok=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_makes_the_checkpoint_due_and_stops_the_job_once_it_is_written(tmp_path, number):
    job = runtime.Job("bnopt.train", {})
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with checkpoint.resumable(tmp_path / "job", job, run=("vgg_batch", 0), inputs=[]) as found:
        found.read()
        assert not found.due()
        os.kill(os.getpid(), number)
        assert found.due()
        with pytest.raises(runtime.Stopped, match=f"its state is in {found.folder}"):
            found.write({"step": 1})
    assert found.read() == {"step": 1}
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers


READ_WITHOUT_RIGHTS = """
import os, sys
from types import SimpleNamespace
from bnopt import runtime
from bnopt.run import checkpoint
about = {"stage": "bnopt.train"}
own = checkpoint.Checkpoint(sys.argv[1], about, SimpleNamespace(received=None))
os.geteuid() or os.setuid(65534)  # root may remove anything
runtime.run(own.read)
"""


def test_leftovers_of_an_earlier_job_that_cannot_be_removed_are_explained_in_a_sentence():
    # Not in pytest's folders, which other users cannot read.
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job"
        (job / "snapshots").mkdir(parents=True)
        Path(folder).chmod(0o755)
        job.chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_WITHOUT_RIGHTS, str(job)],
            env=os.environ | {"PYTHONPATH": SOURCE},
            capture_output=True,
            text=True,
            check=False,
        )
        job.chmod(0o755)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {job}: could not be read or written (Permission denied)")


def test_a_run_whose_snapshots_are_gone_starts_from_the_beginning(trained, stopping):
    """A run moves its snapshots away at its end. If it is killed then, Snakemake deletes them."""
    whole = trained("batch", name="whole")
    trained("batch", stops=[6], name="stopped")
    folder = stopping("stopped").folder
    assert (folder / "checkpoint.pt").exists()
    shutil.rmtree(folder / "snapshots")
    curve, found = trained("batch", name="stopped")
    np.testing.assert_array_equal(curve, whole[0])
    assert found == whole[1]


def test_a_run_whose_snapshots_another_copy_moved_away_is_refused(trained, stopping, monkeypatch):
    """On a cluster, the old copy of a job may still run when SLURM starts the job again."""
    folder = stopping("copied").folder / "snapshots"
    write = snapshots.write

    def write_and_remove(state, into, step):
        write(state, into, step)
        if step == 2 * EVERY:
            shutil.rmtree(folder)

    monkeypatch.setattr(snapshots, "write", write_and_remove)
    with pytest.raises(runtime.StudyError, match="another copy of this job has moved them away"):
        trained("batch", name="copied")


def test_checkpoints_take_about_a_hundredth_of_the_time(checkpoint_of, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    own = checkpoint_of()
    own.read()
    dump = checkpoint.snapshots.dump

    def slow(value):
        now[0] += 0.5
        return dump(value)

    monkeypatch.setattr(checkpoint.snapshots, "dump", slow)
    written = []
    while now[0] < 1000:
        now[0] += 0.1
        if own.due():
            own.write({})
            written.append(now[0])
    assert 10 <= written[0] < 11
    assert 0.5 * len(written) / now[0] <= 0.012


# -- the commands, killed for real ----------------------------------------------------------------

# Runs a stage as `python -m` does, and kills the process at the n-th rename of a file or folder.
KILL_AT_RENAME = """
import os, runpy, signal, sys
left, replace = int(sys.argv.pop(1)), os.replace
def counted(*paths):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = counted
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def commands(prepared, small_config):
    """Function: folder -> the commands that train a short run there and measure a probe on it."""

    def commands(folder):
        of_scale = study.written_out(small_config)
        common = ["--code", "x", "--data", prepared, "--condition", "vgg_batch", "--seed", "0"]
        training = study.train_settings(of_scale, "vgg_batch")
        probing = study.probe_settings(of_scale, "vgg_batch", "along_gradient")
        outputs = ["--curve", folder / "training.csv", "--snapshots", folder / "snapshots"]
        return {
            "bnopt.train": [
                *["--settings", study.as_json(training, ordered=False), *common, *outputs],
                *["--checkpoint", folder / "unfinished" / "train"],
            ],
            "bnopt.probe": [
                *["--settings", study.as_json(probing, ordered=False), *common, *outputs],
                *["--table", folder / "probe.csv", "--checkpoint", folder / "unfinished" / "probe"],
            ],
        }

    return commands


def results(folder):
    """Return name -> bytes of the results of a run and a probe, without their records, which hold times.

    A killed writer may leave hidden files; they are not results.
    """
    files = [*folder.rglob("[!.]*.csv"), *folder.rglob("[!.]*.pt")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_killed_between_any_write_and_its_rename_the_commands_end_the_same(tmp_path, commands, monkeypatch):
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    whole = tmp_path / "whole"
    for main, arguments in zip((train_main, probe_main), commands(whole).values(), strict=True):
        main(list(map(str, arguments)))
    expected = results(whole)
    assert len(expected) == 5  # two tables, three snapshots

    killed = tmp_path / "killed"
    for stage, arguments in commands(killed).items():
        for renames in range(0, 40, 3):
            command = [sys.executable, "-c", KILL_AT_RENAME, str(renames), stage, *map(str, arguments)]
            done = subprocess.run(
                command, env=os.environ | {"PYTHONPATH": SOURCE}, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
        assert renames >= 3
        assert done.returncode == 0
    assert results(killed) == expected
    assert list((killed / "unfinished").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_receives_a_signal_stores_its_state_says_so_and_resumes(tmp_path, commands, number):
    whole = tmp_path / "whole"
    train_main(list(map(str, commands(whole)["bnopt.train"])))
    stopped = tmp_path / "stopped"
    program = f"""
import os, runpy, sys
from bnopt.run import snapshots
write = snapshots.write
def and_signal(*arguments):
    write(*arguments)
    os.kill(os.getpid(), {int(number)})
snapshots.write = and_signal
runpy.run_module("bnopt.train", run_name="__main__", alter_sys=True)
"""
    arguments = list(map(str, commands(stopped)["bnopt.train"]))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    folder = stopped / "unfinished" / "train"
    sentence = f"stopped: its state is in {folder}; call snakemake again to resume\n"
    assert done.stderr.endswith(sentence)
    assert "Traceback" not in done.stderr
    assert results(stopped).keys() == {
        "unfinished/train/checkpoint.pt",
        "unfinished/train/snapshots/step000000.pt",
    }
    train_main(arguments)
    assert results(stopped) == results(whole)


def test_the_environment_sets_the_time_between_checkpoints(checkpoint_of, monkeypatch):
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0.5")
    own = checkpoint_of()
    assert own.seconds == 0.5
    own.written, own.cost = time.monotonic() - 0.6, 1e6
    assert own.due()
    assert runpy.run_path(checkpoint.__file__)["SECONDS"] == 10
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "soon")
    with pytest.raises(
        runtime.StudyError, match="BNOPT_CHECKPOINT_SECONDS: expected a number of seconds, found 'soon'"
    ):
        checkpoint_of()
