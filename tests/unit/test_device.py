"""The device of a job: which one, which of several GPUs, and the error when its memory is full."""

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
from bnopt.files import artefacts
from bnopt.run import device
from bnopt.runtime import StudyError


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Function: pretend that there are `count` GPUs."""

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda n: SimpleNamespace(uuid=f"GPU-{'abcdefgh'[n]}")
        )
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
        monkeypatch.setattr(device, "_held", [])
        device._least_used.cache_clear()
        monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))

    return gpus


@pytest.mark.parametrize(
    ("wish", "count", "chosen"),
    [
        (None, 0, "cpu"),
        (None, 2, "cuda:0"),
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda:0"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda:0"),
    ],
)
def test_a_gpu_is_used_if_there_is_one_unless_another_device_is_asked_for(
    monkeypatch, gpus, wish, count, chosen
):
    gpus(count)
    monkeypatch.delenv("BNOPT_DEVICE")
    if wish:
        monkeypatch.setenv("BNOPT_DEVICE", wish)
    assert device.choose() == torch.device(chosen)


@pytest.mark.parametrize(
    ("wish", "message"), [("cuda", "expected a GPU for 'cuda', found none"), ("tpu", "'tpu'")]
)
def test_a_device_that_does_not_exist_is_refused_in_a_sentence(monkeypatch, gpus, wish, message):
    gpus(0)
    monkeypatch.setenv("BNOPT_DEVICE", wish)
    with pytest.raises(StudyError, match=message):
        device.choose()


@pytest.mark.parametrize("tf32", [False, True])
def test_float32_products_have_full_precision_unless_tf32_is_allowed(tf32):
    device.choose(tf32=not tf32)
    device.choose(tf32=tf32)
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32
    device.choose()
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def command(prepared, tmp_path):
    """Function: settings, the other files of a job by option -> the command line of a stage."""

    def command(settings, **files):
        common = ["--data", str(prepared), "--condition", "c", "--seed", "0"]
        files = files | {"checkpoint": tmp_path / "checkpoint"}
        paths = [text for option, path in files.items() for text in (f"--{option}", str(path))]
        return ["--settings", json.dumps(settings), *common, *paths]

    return command


@pytest.fixture
def training(command, sizes, tmp_path):
    """Function: settings -> the command line of a short training job."""

    def training(**settings):
        settings = sizes | {"norm": "none", "lr": 0.1, "snapshot_every": 0, "tf32": False} | settings
        return command(settings, curve=tmp_path / "curve", snapshots=tmp_path / "snapshots")

    return training


@pytest.fixture
def probing(command, sizes, run_of, tmp_path):
    """The command line of a short probing job."""
    settings = {"probe": "along_gradient", "settings": {"step_sizes": [1]}, "norm": "none", "lr": 0.1}
    run, curve = run_of("none"), tmp_path / "of_run.csv"
    artefacts.write_table(run.curve, curve, job=runtime.Job("bnopt.train", {"snapshot_every": 1}))
    return command(sizes | settings, curve=curve, snapshots=run.folder, table=tmp_path / "table")


def test_only_training_may_use_tf32(monkeypatch, training, probing):
    chosen = []

    def choose(**options):
        chosen.append(options)
        return torch.device("cpu")

    monkeypatch.setattr(device, "choose", choose)
    for tf32 in (True, False):
        train.main(training(steps=1, test_every=1, tf32=tf32))
    probe.main(probing)
    assert chosen == [{"tf32": True}, {"tf32": False}, {}]


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
        """End the process, by closing its input or by killing it."""
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


def test_jobs_spread_over_the_gpus_and_reuse_the_shares_of_jobs_that_ended(job):
    first, second, third = job("a", "b"), job("a", "b"), job("a", "b")
    assert [one.gpu for one in (first, second, third)] == ["a", "b", "a"]
    second.end("kill")
    assert job("a", "b").gpu == "b"
    first.end()
    third.end()
    assert job("a", "b").gpu == "a"


def test_if_files_cannot_be_locked_the_first_gpu_is_used(monkeypatch, gpus, capsys):
    gpus(2)
    refused = OSError(errno.ENOLCK, "No locks available")
    monkeypatch.setattr(device.fcntl, "flock", mock.Mock(side_effect=refused))
    assert device._least_used(("a", "b")) == 0
    assert "No locks available" in capsys.readouterr().out


def test_a_process_stays_with_its_gpu(monkeypatch, gpus):
    gpus(3)
    monkeypatch.setenv("BNOPT_DEVICE", "cuda")
    assert device.choose() == device.choose() == torch.device("cuda:0")


def test_a_gpu_is_identified_by_its_name_not_by_its_index(job):
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
def test_every_error_of_a_full_memory_is_explained(error):
    with pytest.raises(StudyError, match="memory of the GPU"), device.memory_explained():
        raise error


@device.memory_explained()
def fail_twice():
    try:
        full()
    finally:
        raise RuntimeError("operation not permitted when stream is capturing")


def test_a_full_memory_is_explained_also_if_another_error_followed_it():
    with pytest.raises(StudyError, match=r"found it full \(CUDA out of memory\)"):
        fail_twice()


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), OSError("x")])
def test_other_errors_are_raised_unchanged(error):
    with pytest.raises(type(error)) as caught, device.memory_explained():
        raise error
    assert caught.value is error


def full(*arguments, **options):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")


def test_the_error_of_a_full_memory_lists_the_remedies_and_the_checkpoint_stays(
    monkeypatch, training, tmp_path, capsys
):
    command = training(steps=9, test_every=9)
    task = plugins.load("tasks", "vgg")
    batch, steps = task.batch, []

    def fails_at_five(data, **options):
        steps.append(options["step"])
        return full() if options["step"] == 5 else batch(data, **options)

    monkeypatch.setattr(task, "batch", fails_at_five)
    monkeypatch.setenv("BNOPT_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(train, "__spec__", SimpleNamespace(name="bnopt.train"))
    with pytest.raises(SystemExit) as end:
        runtime.run(lambda: train.main(command))
    message = end.value.code
    assert message.startswith("error: memory of the GPU: expected room for this job")
    assert all(text in message for text in ("CUDA out of memory", "gpu=1", "batch_size", "device=cpu"))
    assert "\n" not in message
    assert (tmp_path / "checkpoint" / "checkpoint.pt").exists()

    monkeypatch.setattr(task, "batch", batch)
    train.main(command)
    assert "resuming at step 5" in capsys.readouterr().out


def test_a_full_memory_in_a_probe_is_explained_too(monkeypatch, probing):
    monkeypatch.setattr(plugins.load("probes", "along_gradient"), "measure", full)
    with pytest.raises(StudyError, match="memory of the GPU"):
        probe.main(probing)
