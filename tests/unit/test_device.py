"""Where jobs compute: which device, which of several GPUs, and what is said when its memory is full."""

import errno
import json
import select
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from bnopt import plugins, probe, runtime, train
from bnopt.run import checkpoint, device
from bnopt.runtime import StudyError


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Function: make it look as if there were so many GPUs."""

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda n: SimpleNamespace(uuid=f"GPU-{'abcdefgh'[n]}")
        )
        monkeypatch.setattr(torch.cuda, "set_device", lambda place: None)
        monkeypatch.setattr(device, "_held", [])
        device._least_used.cache_clear()
        monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))

    return gpus


@pytest.mark.parametrize(
    ("wish", "there_are", "chosen"),
    [
        (None, 0, "cpu"),
        (None, 2, "cuda:0"),
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
    ],
)
def test_a_gpu_is_used_if_there_is_one_and_nothing_else_is_wished(monkeypatch, gpus, wish, there_are, chosen):
    gpus(there_are)
    monkeypatch.delenv("BNOPT_DEVICE")
    if wish:
        monkeypatch.setenv("BNOPT_DEVICE", wish)
    assert device.choose() == torch.device(chosen)


@pytest.mark.parametrize(
    ("wish", "said"), [("cuda", "expected a GPU for 'cuda', found none"), ("tpu", "'tpu'")]
)
def test_a_wish_that_cannot_be_met_is_refused_in_a_sentence(monkeypatch, gpus, wish, said):
    gpus(0)
    monkeypatch.setenv("BNOPT_DEVICE", wish)
    with pytest.raises(StudyError, match=said):
        device.choose()


@pytest.mark.parametrize("tf32", [False, True])
def test_float32_products_are_of_full_precision_unless_allowed(tf32):
    device.choose(tf32=not tf32)
    device.choose(tf32=tf32)
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
    device.choose()
    assert not torch.backends.cuda.matmul.allow_tf32


def test_only_training_is_told_whether_tf32_is_allowed(monkeypatch, prepared, sizes, run_of, tmp_path):
    folder = run_of("none").folder
    chosen = []

    def choose(**options):
        chosen.append(options)
        return torch.device("cpu")

    monkeypatch.setattr(device, "choose", choose)
    common = sizes | {"norm": "none", "lr": 0.1, "seed": 0}
    steps = {"steps": 1, "test_every": 1, "snapshot_every": 0, "folder": tmp_path}
    train.train(prepared, **common, **steps, tf32=True)
    probe.probe(prepared, folder, **common, probe="along_gradient", settings={"step_sizes": [1]})
    assert chosen == [{"tf32": True}, {}]


# -- several GPUs ---------------------------------------------------------------------------------

PATIENCE = 120
HOLD = """
import sys
from bnopt.run import device
device.tempfile.gettempdir = lambda: sys.argv[1]
print(device._least_used(tuple(sys.argv[2:])), flush=True)
sys.stdin.read()
"""


class Job:
    """Another process that holds a GPU until it ends."""

    def __init__(self, folder, *gpus):
        command = [sys.executable, "-c", HOLD, str(folder), *gpus]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.end("kill")
            pytest.fail(f"found no share within {PATIENCE} s")
        self.gpu = gpus[int(self.process.stdout.readline())]

    def end(self, how="stdin"):
        """End by itself, or be killed."""
        self.process.stdin.close() if how == "stdin" else self.process.kill()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    jobs = []

    def job(*gpus):
        jobs.append(Job(tmp_path, *gpus))
        return jobs[-1]

    yield job
    for one in jobs:
        if one.process.poll() is None:
            one.end("kill")


def test_jobs_spread_over_the_gpus_and_take_the_place_of_those_that_ended(job):
    first, second, third = job("a", "b"), job("a", "b"), job("a", "b")
    assert [one.gpu for one in (first, second, third)] == ["a", "b", "a"]
    second.end("kill")
    assert job("a", "b").gpu == "b"
    first.end()
    third.end()
    assert job("a", "b").gpu == "a"


def test_where_files_cannot_be_locked_it_is_the_first_gpu(monkeypatch, gpus, capsys):
    gpus(2)
    refused = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(device.fcntl, "flock", mock.Mock(side_effect=refused))
    assert device._least_used(("a", "b")) == 0
    assert "No locks available" in capsys.readouterr().out


def test_a_process_stays_with_its_gpu(monkeypatch, gpus):
    gpus(3)
    monkeypatch.setenv("BNOPT_DEVICE", "cuda")
    assert device.choose() == device.choose() == torch.device("cuda:0")


def test_a_gpu_is_known_by_its_name_whatever_its_number(job):
    assert job("a").gpu == "a"
    assert job("a", "b").gpu == "b"
    assert job("b", "c").gpu == "c"


# -- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_every_way_in_which_memory_is_full_is_explained(error):
    with pytest.raises(StudyError, match="memory of the GPU"), device.memory_explained():
        raise error


@device.memory_explained()
def fail_twice():
    try:
        full()
    finally:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_full_memory_is_explained_also_where_another_error_came_after_it():
    with pytest.raises(StudyError, match=r"found it full \(CUDA out of memory\)"):
        fail_twice()


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), OSError("x")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, device.memory_explained():
        raise error
    assert caught.value is error


def full(*arguments, **options):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")


def test_a_full_memory_is_said_with_what_to_change_and_keeps_what_was_done(
    monkeypatch, prepared, sizes, tmp_path, capsys
):
    settings = sizes | {"norm": "none", "lr": 0.1, "steps": 9, "test_every": 9, "snapshot_every": 0}
    task = plugins.load("tasks", "vgg")
    batch, steps = task.batch, []

    def fails_at_five(data, **options):
        steps.append(options["step"])
        return full() if options["step"] == 5 else batch(data, **options)

    monkeypatch.setattr(task, "batch", fails_at_five)
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    command = ["--settings", json.dumps(settings), "--data", str(prepared), "--condition", "c", "--seed", "0"]
    for option in ("curve", "snapshots", "checkpoint"):
        command += [f"--{option}", str(tmp_path / option)]
    monkeypatch.setattr(train, "__spec__", SimpleNamespace(name="bnopt.train"))
    with pytest.raises(SystemExit) as end:
        runtime.run(lambda: train.main(command))
    said = end.value.code
    assert said.startswith("error: memory of the GPU: expected room for this job")
    assert all(text in said for text in ("CUDA out of memory", "gpu=1", "batch_size", "device=cpu"))
    assert "\n" not in said
    assert (tmp_path / "checkpoint" / "checkpoint.pt").exists()

    monkeypatch.setattr(task, "batch", batch)
    train.main(command)
    assert "going on at step 5" in capsys.readouterr().out


def test_a_full_memory_in_a_probe_is_said_too(monkeypatch, prepared, sizes, run_of):
    monkeypatch.setattr(plugins.load("probes", "along_gradient"), "measure", full)
    settings = {"probe": "along_gradient", "settings": {"step_sizes": [1]}, "norm": "none", "lr": 0.1}
    with pytest.raises(StudyError, match="memory of the GPU"):
        probe.probe(prepared, run_of("none").folder, **sizes, **settings, seed=0)
