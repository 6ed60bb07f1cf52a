"""The file of prepared images: reading returns the images that were written, or refuses the file."""

import dataclasses
import io
import time
import zipfile

import numpy as np
import pytest

from bnopt.files import images
from bnopt.files.images import Images
from bnopt.runtime import StudyError

FIELDS = [field.name for field in dataclasses.fields(Images)]


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    return Images(
        train_images=rng.integers(0, 256, (3, 2, 2, 3), dtype=np.uint8),
        train_labels=np.array([0, 1, 0]),
        test_images=rng.integers(0, 256, (2, 2, 2, 3), dtype=np.uint8),
        test_labels=np.array([1, 0]),
        classes=np.array(["it's", "two words ü"]),
        mean=np.array([0.1, 1 / 3]),
        std=np.array([1e-300, np.pi]),
        source=np.array("a test"),
    )


@pytest.fixture
def file(small, tmp_path):
    path = tmp_path / "images.npz"
    images.write(small, path)
    return path


def assert_refused(path):
    with pytest.raises(StudyError) as caught:
        images.read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected prepared images, found")
    assert f"to make it again: snakemake --force {path}" in message
    assert "\n" not in message


def rewrite(path, **changed):
    """Write the arrays of the file again, some changed or, if None, left out; the archive is valid."""
    with np.load(path) as loaded:
        arrays = {name: loaded[name] for name in loaded.files} | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_reading_returns_what_was_written(small, file):
    found = images.read(file)
    for name in FIELDS:
        expected, array = getattr(small, name), getattr(found, name)
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected, strict=True)


def test_the_same_images_give_the_same_bytes_at_any_time(file, tmp_path, monkeypatch):
    long_ago = time.localtime(10**9)
    monkeypatch.setattr(time, "time", lambda: 10**9)
    monkeypatch.setattr(time, "localtime", lambda *_: long_ago)
    images.write(images.read(file), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", FIELDS)
def test_the_checksum_depends_on_every_array(small, name):
    array = getattr(small, name)
    if array.dtype.kind == "U":
        changed = np.array(["x" * len(str(value)) for value in array.ravel()], array.dtype).reshape(
            array.shape
        )
    else:
        changed = array.copy()
        changed.flat[0] += 1
    assert dataclasses.replace(small, **{name: changed}).checksum() != small.checksum()


def test_the_checksum_depends_on_types_shapes_and_names(small):
    labels = small.train_labels
    turned = small.train_images.reshape(3, 2, 3, 2)
    others = [
        dataclasses.replace(small, train_labels=labels.view(np.uint64)),
        dataclasses.replace(small, train_images=turned),
        dataclasses.replace(small, mean=small.std, std=small.mean),
    ]
    assert len({small.checksum(), *(other.checksum() for other in others)}) == 4


def test_a_truncated_file_is_refused(file):
    content = file.read_bytes()
    for length in [*range(0, len(content), 41), len(content) - 1]:
        file.write_bytes(content[:length])
        assert_refused(file)


def test_a_flipped_byte_is_noticed_or_harmless(small, file):
    """Wherever the byte is, the file is refused with a sentence or yields the images that were written."""
    content, expected, refused = file.read_bytes(), small.checksum(), 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        file.write_bytes(damaged)
        try:
            found = images.read(file)
        except StudyError:
            refused += 1
        else:
            assert found.checksum() == expected, f"byte {position}"
    assert refused > len(content) / 2


def test_a_flipped_pixel_is_refused(small, file):
    content = bytearray(file.read_bytes())
    pixels = small.train_images.tobytes()
    assert content.count(pixels) == 1
    content[content.index(pixels)] ^= 0x01
    file.write_bytes(content)
    assert_refused(file)


@pytest.mark.parametrize("name", FIELDS)
def test_an_altered_array_in_a_valid_archive_is_refused(small, file, name):
    array = getattr(small, name)
    changed = np.char.add(array, "x") if array.dtype.kind == "U" else array + 1
    rewrite(file, **{name: changed})
    assert zipfile.ZipFile(file).testzip() is None
    assert_refused(file)


@pytest.mark.parametrize("name", [*FIELDS, "checksum"])
def test_a_file_without_one_of_its_arrays_is_refused(file, name):
    rewrite(file, **{name: None})
    assert_refused(file)


def test_a_file_with_an_additional_array_is_refused(file):
    rewrite(file, more=np.zeros(3))
    assert_refused(file)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(100)], ids=["empty", "text", "zip"])
def test_a_file_of_another_kind_is_refused(file, content):
    file.write_bytes(content)
    assert_refused(file)


def test_a_single_array_is_refused(file):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    file.write_bytes(buffer.getvalue())
    assert_refused(file)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_code_in_a_file_is_not_executed(file, tmp_path):
    trace = tmp_path / "executed"
    rewrite(file, classes=np.array([Bomb(str(trace))], dtype=object))
    assert_refused(file)
    assert not trace.exists()


def test_a_missing_file_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        images.read(tmp_path / "images.npz")


def test_images_cannot_be_changed_by_accident(small):
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.mean = small.std
