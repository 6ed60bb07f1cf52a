"""The files of weights a run leaves behind."""

import pytest
import torch

from bnopt import snapshots
from bnopt.runtime import StudyError


def test_what_is_written_is_read_bit_for_bit(tmp_path):
    state = {"1.weight": torch.randn(3, 4), "running": torch.tensor([1.0, float("inf")])}
    snapshots.write(state, tmp_path, 7)
    found = snapshots.read(tmp_path, 7, "cpu")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_steps_are_listed_in_order_whatever_their_number_of_digits(tmp_path):
    written = [1_000_000, 20, 3, 999_999, 0, 100]
    for step in written:
        snapshots.write({"a": torch.zeros(1)}, tmp_path, step)
    assert snapshots.steps(tmp_path) == sorted(written)
    snapshots.remove(tmp_path, 20)
    snapshots.remove(tmp_path, 21)
    assert snapshots.steps(tmp_path) == [0, 3, 100, 999_999, 1_000_000]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_is_reported_with_its_name_and_what_to_do(tmp_path, damage):
    snapshots.write({"a": torch.zeros(1000)}, tmp_path, 4)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes({"truncated": content[:500], "empty": b"", "text": b"no weights"}[damage])
    with pytest.raises(StudyError, match=f"{file.name}.*delete"):
        snapshots.read(tmp_path, 4, "cpu")


def test_reading_runs_no_code_from_the_file(tmp_path):
    class Payload:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"a": Payload()}, tmp_path / "step000001.pt")
    with pytest.raises(StudyError):
        snapshots.read(tmp_path, 1, "cpu")
