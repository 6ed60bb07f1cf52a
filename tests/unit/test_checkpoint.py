"""A job that is stopped goes on from its checkpoint and ends as if it had never been stopped, bit for bit."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bnopt import plugins, runtime
from bnopt.probe import main as probe_main
from bnopt.probe import probe
from bnopt.run import checkpoint, snapshots
from bnopt.study import study
from bnopt.train import main as train_main
from bnopt.train import train

SOURCE = str(Path(checkpoint.__file__).parents[1])
STEPS, EVERY = 9, 2


class Stopping(checkpoint.Checkpoint):
    """A checkpoint that is told to stop at its n-th chance."""

    def stop_at(self, chance):
        self.chances = chance + 1
        return self

    def due(self):
        self.chances -= 1
        self.signals.received = signal.SIGTERM if self.chances == 0 else None
        return self.chances == 0


@pytest.fixture
def keep(tmp_path):
    """Function: name, options, inputs -> the checkpoint of a job; it never stops unless told to."""

    def keep(name="job", inputs=(), **options):
        made_by = SimpleNamespace(stage="bnopt.train", code="", **options)
        signals = SimpleNamespace(received=None)
        return Stopping(tmp_path / "unfinished" / name, made_by, inputs, signals).stop_at(10**9)

    return keep


@pytest.fixture
def trained(prepared, sizes_of, keep):
    """Function: train a short run, stopped at some steps; return its curve and its snapshots' bytes."""

    def trained(norm, task="vgg", lr=0.1, stops=(), name="job"):
        settings = sizes_of(task) | {"norm": norm, "lr": lr, "steps": STEPS, "seed": 0}
        settings |= {"test_every": 4, "snapshot_every": EVERY}
        folder = keep(name).folder / "snapshots"
        for number in [*stops, None]:
            kept = keep(name, settings=settings)
            if number is None:
                curve = train(prepared, **settings, folder=folder, kept=kept)
            else:
                with pytest.raises(runtime.Stopped, match="is kept in"):
                    train(prepared, **settings, folder=folder, kept=kept.stop_at(number))
        return curve, {file.name: file.read_bytes() for file in folder.glob("*.pt")}

    return trained


@pytest.mark.parametrize("norm", plugins.names("norms"))
def test_a_run_that_is_stopped_again_and_again_ends_as_one_that_is_not(trained, norm):
    whole, snapshots_of_whole = trained(norm, name="whole")
    # Chances count from where a run goes on: steps 0, 3, 4, 8.
    curve, snapshots_of_it = trained(norm, stops=[0, 3, 1, 4], name="stopped")
    np.testing.assert_array_equal(curve, whole)
    assert snapshots_of_it == snapshots_of_whole
    assert len(snapshots_of_whole) == 5


def test_a_deep_linear_run_goes_on_likewise(trained):
    whole = trained("batch", task="deep_linear", lr=1e-6, name="whole")
    stopped = trained("batch", task="deep_linear", lr=1e-6, stops=[2, 5], name="stopped")
    np.testing.assert_array_equal(stopped[0], whole[0])
    assert stopped[1] == whole[1]


def test_a_run_that_diverges_after_it_was_stopped_says_the_same(trained):
    whole = trained("none", lr=1e4, name="whole")
    assert whole[0]["diverged"].any()
    stopped = trained("none", lr=1e4, stops=[1, 1], name="stopped")
    np.testing.assert_array_equal(stopped[0], whole[0])
    assert stopped[1] == whole[1]


@pytest.mark.parametrize("name", ["along_gradient", "theorems", "activations"])
def test_a_probe_that_is_stopped_again_and_again_ends_as_one_that_is_not(
    prepared, sizes, run_of, probe_settings, keep, name
):
    settings = {"norm": "noisy_batch", "lr": 0.1, "probe": name, "settings": probe_settings(name)}
    folder = run_of("noisy_batch").folder
    settings |= sizes | {"seed": 0}
    whole = probe(prepared, folder, **settings)
    for number in (0, 5, 1):
        with pytest.raises(runtime.Stopped):
            probe(prepared, folder, **settings, kept=keep().stop_at(number))
    kept = keep()
    passes = count_calls(kept, "due")
    pd.testing.assert_frame_equal(probe(prepared, folder, **settings, kept=kept), whole, check_exact=True)
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


def write_one(keep, data_file, **options):
    kept = keep(inputs=[data_file, None], **options)
    assert kept.read() is None
    kept.write({"step": 7})
    return kept


def test_a_checkpoint_of_the_same_job_is_used(keep, data_file):
    write_one(keep, data_file, settings={"lr": 0.1, "norm": "ü"}, seed=3)
    again = keep(inputs=[data_file, None], settings={"norm": "ü", "lr": 0.1}, seed=3)
    assert again.read() == {"step": 7}


@pytest.mark.parametrize("change", ["settings", "seed", "code", "input", "input's time", "torch"])
def test_a_checkpoint_of_another_job_is_not_used_and_removed(keep, data_file, monkeypatch, capsys, change):
    options = {"settings": {"lr": 0.1}, "seed": 3}
    (write_one(keep, data_file, **options).folder / "snapshots").mkdir()
    if change == "settings":
        options["settings"] = {"lr": 0.2}
    elif change == "seed":
        options["seed"] = 4
    elif change == "code":
        monkeypatch.setattr(checkpoint.records, "modules", lambda stage: {"bnopt.train": "changed"})
    elif change == "torch":
        monkeypatch.setattr(checkpoint.torch, "__version__", "0.1")
    elif change == "input":
        times = data_file.stat()
        data_file.write_bytes(b"others!")
        os.utime(data_file, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        os.utime(data_file, (0, 0))
    kept = keep(inputs=[data_file, None], **options)
    assert kept.read() is None
    assert list(kept.folder.iterdir()) == []
    assert "of other settings, code or inputs: not used" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_not_used(keep, data_file, capsys):
    kept = write_one(keep, data_file)
    content = kept.file.read_bytes()
    for damaged in (b"", content[:-1], content[:99] + b"x" + content[100:], content * 2):
        kept.file.write_bytes(damaged)
        assert keep(inputs=[data_file, None]).read() is None
        assert "damaged: not used" in capsys.readouterr().out
        kept.folder.mkdir(exist_ok=True)


READ_WITHOUT_RIGHTS = """
import os, sys
from types import SimpleNamespace
from bnopt import runtime
from bnopt.run import checkpoint
made_by = SimpleNamespace(stage="bnopt.train")
kept = checkpoint.Checkpoint(sys.argv[1], made_by, [], SimpleNamespace(received=None))
os.geteuid() or os.setuid(65534)  # root may remove anything
runtime.run(kept.read)
"""


def test_what_cannot_be_removed_of_an_earlier_job_is_a_sentence():
    # Not in pytest's folders, which are closed to others.
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


def test_a_run_whose_snapshots_are_gone_starts_anew(trained, keep):
    """Killed at the very end, a run has given its snapshots away; Snakemake removes what is not finished."""
    whole = trained("batch", name="whole")
    trained("batch", stops=[6], name="stopped")
    kept = keep("stopped").folder
    assert (kept / "checkpoint.pt").exists()
    shutil.rmtree(kept / "snapshots")
    curve, found = trained("batch", name="stopped")
    np.testing.assert_array_equal(curve, whole[0])
    assert found == whole[1]


def test_a_run_robbed_of_its_snapshots_by_another_copy_is_no_result(trained, keep, monkeypatch):
    """On a cluster an old copy of a job may still run when SLURM starts it again."""
    folder = keep("robbed").folder / "snapshots"
    write = snapshots.write

    def write_and_rob(state, place, step):
        write(state, place, step)
        if step == 2 * EVERY:
            shutil.rmtree(folder)

    monkeypatch.setattr(snapshots, "write", write_and_rob)
    with pytest.raises(runtime.StudyError, match="another copy of this job has taken them away"):
        trained("batch", name="robbed")


def test_a_checkpoint_takes_less_than_a_hundredth_of_the_time(keep, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    made_by = SimpleNamespace(stage="bnopt.train")
    kept = checkpoint.Checkpoint(keep().folder, made_by, [], SimpleNamespace(received=None))
    kept.read()
    dump = checkpoint.snapshots.dump

    def slow(value):
        now[0] += 0.5
        return dump(value)

    monkeypatch.setattr(checkpoint.tensors, "dump", slow)
    written = []
    while now[0] < 1000:
        now[0] += 0.1
        if kept.due():
            kept.write({})
            written.append(now[0])
    assert 10 <= written[0] < 11
    assert 0.5 * len(written) / now[0] <= 0.012


# -- the commands, killed for real ----------------------------------------------------------------

# Kills its process at the n-th rename of a file or folder, then runs a stage as `python -m` does.
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
        common = ["--code", "x", "--data", prepared, "--condition", "vgg_batch", "--seed", "0"]
        training = study.train_settings(small_config, "digits", "vgg_batch")
        probing = study.probe_settings(small_config, "digits", "vgg_batch", "along_gradient")
        outputs = ["--snapshots", folder / "snapshots"]
        return {
            "bnopt.train": [
                *["--settings", study.as_json(training, ordered=False), *common, *outputs],
                *["--curve", folder / "training.csv", "--checkpoint", folder / "unfinished" / "train"],
            ],
            "bnopt.probe": [
                *["--settings", study.as_json(probing, ordered=False), *common, *outputs],
                *["--table", folder / "probe.csv", "--checkpoint", folder / "unfinished" / "probe"],
            ],
        }

    return commands


def results(folder):
    """Return name -> bytes of what a run and a probe leave, but for their records, which hold times.

    What a killed writer leaves is hidden, and taken for a result by nobody.
    """
    files = [*folder.rglob("[!.]*.csv"), *folder.rglob("[!.]*.pt")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_killed_between_any_write_and_its_rename_the_commands_end_the_same(tmp_path, commands, monkeypatch):
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)
    whole = tmp_path / "whole"
    for main, arguments in zip((train_main, probe_main), commands(whole).values(), strict=True):
        main(list(map(str, arguments)))
    expected = results(whole)
    assert len(expected) == 4  # two tables, two snapshots

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
def test_told_to_stop_a_command_says_so_keeps_its_state_and_goes_on(tmp_path, commands, monkeypatch, number):
    whole = tmp_path / "whole"
    train_main(list(map(str, commands(whole)["bnopt.train"])))
    told = tmp_path / "told"
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
    arguments = list(map(str, commands(told)["bnopt.train"]))
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    kept = told / "unfinished" / "train"
    sentence = f"stopped: what was done is kept in {kept}; call snakemake again to go on\n"
    assert done.stderr.endswith(sentence)
    assert "Traceback" not in done.stderr
    assert results(told).keys() == {
        "unfinished/train/checkpoint.pt",
        "unfinished/train/snapshots/step000000.pt",
    }
    train_main(arguments)
    assert results(told) == results(whole)


def test_the_time_between_checkpoints_is_set_by_the_environment(keep, monkeypatch):
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0.5")
    assert keep().seconds == 0.5
    assert runpy.run_path(checkpoint.__file__)["SECONDS"] == 10
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "soon")
    with pytest.raises(
        runtime.StudyError, match="BNOPT_CHECKPOINT_SECONDS: expected a number of seconds, found 'soon'"
    ):
        keep()
