"""The snapshots of a run: read back bit for bit, refused if damaged, and unable to run code."""

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from bnopt.run import snapshots
from bnopt.runtime import StudyError

SOURCE = str(Path(snapshots.__file__).parents[2])


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        {
            "1.linear.weight": torch.randn(4, 3, generator=generator),
            "1.linear.bias": torch.tensor([0.0, -0.0, torch.inf, torch.nan]),
            "1.norm.running_var": torch.rand(5, dtype=torch.float64, generator=generator),
            "1.norm.count": torch.tensor(7),
        }
    )


def assert_refused(folder, step):
    with pytest.raises(StudyError) as caught:
        snapshots.read(folder, step, "cpu")
    message = str(caught.value)
    assert str(next(Path(folder).glob(f"step*{step}.pt"))) in message
    assert "expected the weights of a run, found a damaged file" in message
    assert f"to make it again: snakemake --force {folder}" in message
    assert "\n" not in message


def test_reading_returns_what_was_written(tmp_path, state):
    snapshots.write(state, tmp_path, 30)
    found = snapshots.read(tmp_path, 30, "cpu")
    assert list(found) == list(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert found[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_later_updates_do_not_change_a_snapshot(tmp_path):
    weight = torch.zeros(3)
    snapshots.write({"weight": weight}, tmp_path, 0)
    weight += 1
    assert snapshots.read(tmp_path, 0, "cpu")["weight"].tolist() == [0, 0, 0]


def test_steps_are_sorted_as_numbers(tmp_path, state):
    assert snapshots.steps(tmp_path) == []
    steps = [0, 5, 10, 999_999, 1_000_000, 10_000_000]
    for step in reversed(steps):
        snapshots.write(state, tmp_path, step)
    (tmp_path / "notes.txt").touch()
    assert snapshots.steps(tmp_path) == snapshots.steps(str(tmp_path)) == steps


def test_removing_a_step_leaves_the_others(tmp_path, state):
    for step in (0, 3):
        snapshots.write(state, tmp_path, step)
    snapshots.remove(tmp_path, 3)
    snapshots.remove(tmp_path, 4)
    assert snapshots.steps(tmp_path) == [0]


def test_a_truncated_snapshot_is_refused(tmp_path, state):
    snapshots.write(state, tmp_path, 0)
    file = next(tmp_path.iterdir())
    content = file.read_bytes()
    for length in [*range(0, len(content), 61), len(content) - 1]:
        file.write_bytes(content[:length])
        assert_refused(tmp_path, 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"text\n" * 50, b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04" + bytes(200), bytes(1000)],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "step000000.pt").write_bytes(content)
    assert_refused(tmp_path, 0)


@pytest.mark.parametrize("flip", [0xFF, 0x01])
def test_every_flipped_byte_is_noticed(tmp_path, flip):
    snapshots.write({"w": torch.arange(30.0), "v": torch.tensor([7])}, tmp_path, 0)
    file = next(tmp_path.iterdir())
    content = file.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= flip
        file.write_bytes(damaged)
        assert_refused(tmp_path, 0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_parse_returns_the_nested_value_of_dump_on_the_device(state, device):
    value = {"model": state, "step": 7, "rows": [{"name": "ü", "loss": 0.1}], "none": None}
    found = snapshots.parse(bytes(snapshots.dump(value)), device)
    model = found.pop("model")
    assert found == {name: of_name for name, of_name in value.items() if name != "model"}
    assert list(model) == list(state)
    assert {tensor.device.type for tensor in model.values()} == {device}


def test_pytorch_alone_can_read_a_snapshot(tmp_path, state):
    snapshots.write(state, tmp_path, 0)
    found = torch.load(next(tmp_path.iterdir()), weights_only=True)
    assert [name for name, *_ in found["layout"]] == list(state)
    floats = torch.cat([tensor.flatten() for tensor in state.values() if tensor.dtype == torch.float32])
    assert found["values"]["torch.float32"].numpy().tobytes() == floats.numpy().tobytes()


def test_memory_layouts_are_kept_and_no_tensors_share_memory(tmp_path):
    """Layouts decide which kernels PyTorch runs, so results would differ in the last digits without them."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 4, 4, generator=generator)
    state = {
        "channels_last": images.to(memory_format=torch.channels_last),
        "contiguous": images,
        "one channel": torch.randn(5, 1, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "transposed": torch.randn(3, 7, generator=generator).T,
        "empty": torch.zeros(0, 3),
    }
    gaps = {"every second column": torch.randn(3, 8, generator=generator)[:, ::2]}
    snapshots.write(state | gaps, tmp_path, 0)
    found = snapshots.read(tmp_path, 0, "cpu")
    for name, tensor in (state | gaps).items():
        assert torch.equal(found[name], tensor)
    assert {n: found[n].stride() for n in state} == {n: tensor.stride() for n, tensor in state.items()}
    assert all(tensor.storage_offset() == 0 for tensor in found.values())
    assert len({tensor.untyped_storage()._cdata for tensor in found.values()}) == len(found)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        lambda bomb, path: path.write_bytes(pickle.dumps(bomb, 2)),
        lambda bomb, path: path.write_bytes(snapshots.dump(bomb)),
        lambda bomb, path: path.write_bytes(snapshots.dump({"layout": [], "values": bomb})),
    ],
    ids=["torch", "pickle", "with its checksum", "among the values"],
)
def test_code_in_a_snapshot_is_not_executed(tmp_path, save):
    trace = tmp_path / "executed"
    save({"weight": Bomb(trace)}, tmp_path / "step000000.pt")
    assert_refused(tmp_path, 0)
    assert not trace.exists()
    # The bomb does work.
    pickle.loads(pickle.dumps(Bomb(trace))).close()
    assert trace.exists()


def test_a_missing_snapshot_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        snapshots.read(tmp_path, 0, "cpu")


FULL_DISK = """
import resource, sys
import torch
from bnopt import runtime
from bnopt.files import artefacts
from bnopt.run import snapshots

def main():
    with artefacts.atomic_folder(sys.argv[1]) as folder:
        # No file may grow beyond 4 KiB: the kernel refuses to write more.
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        snapshots.write({"weight": torch.zeros(100_000)}, folder, 0)

runtime.run(main)
"""


def test_on_a_full_disk_no_snapshot_is_left_and_the_error_is_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "snapshots")],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert "could not be read or written" in done.stderr


@pytest.mark.parametrize(
    "name", ["step000000 (conflicted copy).pt", "step000000-LAPTOP.pt", "step000000.pt~", "step000004 2.pt"]
)
def test_copies_that_editors_and_synchronisation_leave_are_no_snapshots(tmp_path, capsys, name):
    for step in (0, 1_000_000):
        snapshots.write({"weights": torch.zeros(2)}, tmp_path, step)
    (tmp_path / name).write_bytes(b"")
    assert snapshots.steps(tmp_path) == [0, 1_000_000]
    assert f"{tmp_path}: ignored, no snapshots: {name}" in capsys.readouterr().out
