"""Preparing images: pixels and labels are exact, and unusable images are refused in a sentence."""

import hashlib
import http.client
import io
import json
import pickle
import re
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from bnopt import data
from bnopt.files import images
from bnopt.runtime import StudyError

ROOT = Path(__file__).parents[2]
GREY, RGB = (6, 7), (6, 7, 3)


def pixels(seed, shape=GREY):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_image(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_tree(root, *, classes=("cat", "dog"), shape=GREY, per_class=2):
    """Write a valid folder tree; return part -> class -> its arrays, sorted by name."""
    seed, tree = 0, {}
    for part in ("train", "test"):
        for name in classes:
            for number in range(per_class):
                seed += 1
                write_image(root / part / name / f"{number}.png", pixels(seed, shape))
                tree.setdefault(part, {}).setdefault(name, []).append(pixels(seed, shape))
    return tree


def prepare(root):
    return data.prepare(images=str(root), cache="not used")


def refusal(root):
    with pytest.raises(StudyError) as caught:
        prepare(root)
    return str(caught.value)


def assert_one_or_two_sentences(message):
    assert "\n" not in message
    assert "Traceback" not in message
    assert 1 <= len(re.split(r"[.!?]\s+(?=[A-Z])", message)) <= 2, message


# -- digits ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return data.prepare(images="digits", cache="not used")


def test_digits_are_all_images_of_scikit_learn_each_in_one_part(digits):
    parts = [(digits.train_images, digits.train_labels), (digits.test_images, digits.test_labels)]
    assert [x.dtype for x, _ in parts] == [np.uint8] * 2
    assert all(x.shape == (len(y), 1, 8, 8) for x, y in parts)
    found = sorted((x.tobytes(), y) for part in parts for x, y in zip(*part, strict=True))
    rows, labels = load_digits(return_X_y=True)
    expected = sorted((row.astype(np.uint8).tobytes(), y) for row, y in zip(rows, labels, strict=True))
    # Equal as multisets: 1,797 images, none lost, none in both parts, each with its own label.
    assert len(found) == 1797
    assert found == expected


def test_digits_are_split_the_same_way_in_every_class(digits):
    _, labels = load_digits(return_X_y=True)
    for digit in range(10):
        assert (digits.test_labels == digit).sum() == pytest.approx(0.2 * (labels == digit).sum(), abs=1)
    assert digits.classes.tolist() == list("0123456789")
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64


def test_digits_are_the_same_every_time(digits):
    assert data.prepare(images="digits", cache="not used").checksum() == digits.checksum()
    stored = json.loads((ROOT / "docs/results/digits/images.json").read_text(encoding="utf-8"))
    assert digits.checksum() == stored["sha256"]


def test_training_images_are_not_sorted_by_class(digits):
    assert (np.diff(digits.train_labels) != 0).mean() > 0.5


def test_mean_and_deviation_are_those_of_the_training_pixels(digits):
    plain = digits.train_images.astype(np.float64)
    np.testing.assert_allclose(digits.mean, plain.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(digits.std, plain.std(axis=(0, 2, 3)), rtol=1e-12)
    assert digits.mean.dtype == digits.std.dtype == np.float64


# -- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), [(GREY, 1), (RGB, 3)])
def test_a_folder_yields_the_pixels_of_its_files(tmp_path, shape, channels):
    tree = write_tree(tmp_path, shape=shape)
    prepared = prepare(tmp_path)
    for part in ("train", "test"):
        expected = np.stack([array for arrays in tree[part].values() for array in arrays])
        if channels == 1:
            expected = expected[..., None]
        found = getattr(prepared, f"{part}_images")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected.transpose(0, 3, 1, 2))
        assert getattr(prepared, f"{part}_labels").tolist() == [0, 0, 1, 1]
    assert prepared.classes.tolist() == ["cat", "dog"]


def test_mean_and_deviation_are_per_channel(tmp_path):
    write_tree(tmp_path, shape=RGB)
    prepared = prepare(tmp_path)
    plain = prepared.train_images.astype(np.float64)
    np.testing.assert_allclose(prepared.mean, plain.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(prepared.std, plain.std(axis=(0, 2, 3)), rtol=1e-12)
    assert prepared.mean.shape == prepared.std.shape == (3,)


def test_images_are_sorted_by_name_not_by_time_of_writing(tmp_path):
    names = ["b.png", "a.png", "10.png", "9.png", "Z.png"]
    for part in ("train", "test"):
        for name in ("two", "one"):
            for number, file in enumerate(names):
                write_image(tmp_path / part / name / file, np.full(GREY, 10 * number + len(name), np.uint8))
    prepared = prepare(tmp_path)
    order = [names.index(name) for name in sorted(names)]
    expected = [10 * number + len(name) for name in ("one", "two") for number in order]
    assert prepared.train_images[:, 0, 0, 0].tolist() == expected
    assert prepared.test_images[:, 0, 0, 0].tolist() == expected
    assert prepared.classes.tolist() == ["one", "two"]


def test_class_names_may_have_spaces_quotes_and_any_letters(tmp_path):
    names = ["two words", "naïve – ü", "it's", 'say "hi"', "$(echo no)", "a;b", "日本"]
    root = tmp_path / 'a folder\'s "name" ü'
    write_tree(root, classes=names)
    prepared = prepare(root)
    assert prepared.classes.tolist() == sorted(names)
    images.write(prepared, tmp_path / "images.npz")
    assert images.read(tmp_path / "images.npz").classes.tolist() == sorted(names)


def test_other_files_beside_the_images_are_ignored(tmp_path):
    write_tree(tmp_path)
    expected = prepare(tmp_path).checksum()
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "train" / "labels.csv").write_text("about")
    (tmp_path / "train" / "cat" / "Thumbs.db").write_text("about")
    assert prepare(tmp_path).checksum() == expected


def test_the_source_stated_in_a_folder_goes_with_its_images(tmp_path):
    root = tmp_path / "pictures"
    write_tree(root)
    assert str(prepare(root).source) == "images from the folder pictures"
    (root / "SOURCE.txt").write_text("Drawn by hand,\n  once.\n", encoding="utf-8")
    assert str(prepare(root).source) == "images from the folder pictures: Drawn by hand, once."
    assert data.summary(prepare(root))["source"].endswith("Drawn by hand, once.")
    (root / "SOURCE.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(StudyError, match=r"SOURCE\.txt: expected text in UTF-8"):
        prepare(root)


def test_an_indexed_image_yields_the_colours_of_its_palette(tmp_path):
    colours = np.array([[200, 10, 30], [5, 250, 60]], np.uint8)
    chosen = pixels(0) % 2
    indexed = Image.fromarray(chosen)
    indexed.putpalette(colours.tobytes())
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            indexed.save(tmp_path / part / name / "0.png")
    np.testing.assert_array_equal(prepare(tmp_path).train_images[0], colours[chosen].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("suffix", "kind", "largest"),
    [(".png", np.uint16, 60_000), (".tif", np.float32, 1)],
    ids=["16 bits", "floating point"],
)
def test_values_of_more_than_8_bits_are_never_silently_cut_off(tmp_path, suffix, kind, largest):
    """An image of 42 evenly spaced grey values is refused or becomes 42 values, not only 0 and 255."""
    deep = np.linspace(0, largest, 42).astype(kind).reshape(GREY)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            write_image(tmp_path / part / name / f"0{suffix}", deep)
    try:
        found = len(np.unique(prepare(tmp_path).train_images))
    except StudyError as error:
        found = str(error)
    assert found == 42 or str(tmp_path / "train" / "cat" / f"0{suffix}") in str(found)


def remove_test(root):
    for file in (root / "test").rglob("*.png"):
        file.unlink()
    for folder in ("cat", "dog", ""):
        (root / "test" / folder).rmdir()


def empty_class(root):
    for file in (root / "test" / "dog").iterdir():
        file.unlink()


def only_text_in_class(root):
    empty_class(root)
    (root / "test" / "dog" / "about.txt").write_text("no images here")


def one_class(root):
    for part in ("train", "test"):
        (root / part / "dog").rename(root / f"{part} dogs")


def no_class(root):
    one_class(root)
    for part in ("train", "test"):
        (root / part / "cat").rename(root / f"{part} cats")


def different_classes(root):
    (root / "test" / "dog").rename(root / "test" / "wolf")


def class_missing_in_test(root):
    (root / "test" / "dog").rename(root / "dog")


def one_of_another_size(root):
    write_image(root / "test" / "cat" / "1.png", pixels(0, (7, 6)))


def one_in_colour(root):
    write_image(root / "train" / "dog" / "1.png", pixels(0, RGB))


def text_named_png(root):
    (root / "train" / "dog" / "1.png").write_text("I am no image")


def nothing_named_png(root):
    (root / "train" / "dog" / "1.png").write_bytes(b"")


def truncated_png(root):
    file = root / "train" / "dog" / "1.png"
    write_image(file, pixels(0))
    file.write_bytes(file.read_bytes()[:-40])


def truncated_jpeg(root):
    file = root / "train" / "dog" / "1.jpg"
    write_image(file, pixels(0))
    file.write_bytes(file.read_bytes()[:-40])


def flipped_byte_in_png(root):
    file = root / "train" / "dog" / "1.png"
    content = bytearray(file.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 0xFF
    file.write_bytes(content)


def too_many_pixels(root):
    # Pillow treats an image above its limit as an attack, whatever the size of the file.
    Image.new("1", (20_000, 10_000)).save(root / "train" / "dog" / "1.png")


def one_colour(root):
    for file in root.rglob("*.png"):
        write_image(file, np.full(GREY, 7, np.uint8))


REFUSED = [
    (remove_test, "test", ["expected a folder", "found none"]),
    (empty_class, "test/dog", ["expected image files", ".png", "found none"]),
    (only_text_in_class, "test/dog", ["expected image files", ".png", "found none"]),
    (one_class, "train", ["two or more classes", "found cat"]),
    (no_class, "train", ["two or more classes", "found none"]),
    (different_classes, "", ["same classes", "train/", "test/", "dog", "wolf"]),
    (class_missing_in_test, "", ["same classes", "train/", "test/", "dog"]),
    (one_of_another_size, "test/cat/1.png", ["expected 6 x 7", "train/cat/0.png", "found 7 x 6"]),
    (one_in_colour, "train/dog/1.png", ["1 channel", "train/cat/0.png", "3 channels"]),
    (text_named_png, "train/dog/1.png", ["expected an image", "repair or remove"]),
    (nothing_named_png, "train/dog/1.png", ["expected an image", "repair or remove"]),
    (truncated_png, "train/dog/1.png", ["expected an image", "repair or remove"]),
    (truncated_jpeg, "train/dog/1.jpg", ["expected an image", "repair or remove"]),
    (flipped_byte_in_png, "train/dog/1.png", ["expected an image", "repair or remove"]),
    (too_many_pixels, "train/dog/1.png", ["expected an image"]),
    (one_colour, "", ["expected images that differ", "found one colour"]),
]


@pytest.mark.parametrize(
    ("damage", "path", "words"), REFUSED, ids=[row[0].__name__.replace("_", " ") for row in REFUSED]
)
def test_a_folder_that_cannot_be_used_is_refused_with_its_path(tmp_path, damage, path, words):
    root = tmp_path / "images"
    write_tree(root)
    damage(root)
    message = refusal(root)
    assert (str(root / path) if path else root.name) in message
    for word in words:
        assert word in message
    assert_one_or_two_sentences(message)


@pytest.mark.parametrize("make", ["nothing", "empty folder", "file"])
def test_a_path_without_a_folder_tree_is_refused(tmp_path, make):
    root = tmp_path / "images"
    if make == "empty folder":
        root.mkdir()
    elif make == "file":
        root.write_text("not a folder")
    message = refusal(root)
    assert str(root / "train") in message
    assert "expected a folder with one folder per class, found none" in message
    assert_one_or_two_sentences(message)


def test_images_too_small_or_too_few_for_the_study_are_refused(tmp_path):
    write_tree(tmp_path)
    data.prepare(images=str(tmp_path), cache="not used", least_side=6, least_number=4)
    for needs, words in [
        ({"least_side": 7}, [f"{tmp_path}: expected", "at least 7 x 7 pixels", "found 6 x 7"]),
        ({"least_number": 5}, [f"{tmp_path / 'train'}: expected", "batch_size, 5", "found 4"]),
    ]:
        with pytest.raises(StudyError) as caught:
            data.prepare(images=str(tmp_path), cache="not used", **needs)
        for word in words:
            assert word in str(caught.value)
        assert_one_or_two_sentences(str(caught.value))


# -- CIFAR-10 -------------------------------------------------------------------------------------

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PER_BATCH = 4
ARCHIVE = "cifar-10-python.tar.gz"


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def small_cifar10(monkeypatch):
    """A CIFAR-10 with 4 images per file in the real layout; its MD5 sums replace the real ones."""
    from torchvision.datasets import CIFAR10

    rng = np.random.default_rng(0)
    content, expected = {}, {}
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name in batches:
        rows = rng.integers(0, 256, (PER_BATCH, 3 * 32 * 32), dtype=np.uint8)
        labels = rng.integers(0, 10, PER_BATCH).tolist()
        expected[name] = rows, labels
        files = [f"{number}.png" for number in range(PER_BATCH)]
        content[name] = pickle.dumps(
            {"batch_label": name, "labels": labels, "data": rows, "filenames": files}, 2
        )
    content["batches.meta"] = pickle.dumps(
        {"num_cases_per_batch": PER_BATCH, "label_names": CLASSES, "num_vis": 3072}, 2
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        for name, data_of in content.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(data_of)
            file.addfile(entry, io.BytesIO(data_of))
    sums = [[name, md5(content[name])] for name in batches]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(content["batches.meta"])})
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive.getvalue()))
    return archive.getvalue(), expected


def assert_is_small_cifar10(prepared, expected):
    train = [expected[f"data_batch_{number}"] for number in range(1, 6)]
    for part, batches in (("train", train), ("test", [expected["test_batch"]])):
        found = getattr(prepared, f"{part}_images")
        assert found.shape == (len(batches) * PER_BATCH, 3, 32, 32)
        assert found.dtype == np.uint8
        # A row holds the red plane, then green, then blue, each of them row by row.
        np.testing.assert_array_equal(found.reshape(len(found), -1), np.concatenate([b[0] for b in batches]))
        assert getattr(prepared, f"{part}_labels").tolist() == [y for b in batches for y in b[1]]
    assert prepared.classes.tolist() == CLASSES


@pytest.fixture
def network(monkeypatch):
    """A network that answers every request with `network.answer`: bytes, or an exception to raise."""

    class Network:
        answer = urllib.error.URLError(OSError(-2, "Name or service not known"))
        requests = 0

        def open(self, *_args, **_kwargs):
            self.requests += 1
            if isinstance(self.answer, Exception):
                raise self.answer
            response = io.BytesIO(self.answer)
            response.url, response.length = None, len(self.answer)
            return response

    network = Network()
    monkeypatch.setattr("urllib.request.urlopen", network.open)
    return network


def refused_cifar10(cache):
    with pytest.raises(StudyError) as caught:
        data.prepare(images="cifar10", cache=str(cache))
    message = str(caught.value)
    assert "\n" not in message
    for word in ("CIFAR-10", str(cache), "network", ARCHIVE, "images=PATH"):
        assert word in message
    return message


def test_a_cifar10_archive_in_the_cache_needs_no_network(tmp_path, small_cifar10, network):
    archive, expected = small_cifar10
    (tmp_path / ARCHIVE).write_bytes(archive)
    assert_is_small_cifar10(data.prepare(images="cifar10", cache=str(tmp_path)), expected)
    # Nor does the unpacked archive need it.
    (tmp_path / ARCHIVE).unlink()
    assert_is_small_cifar10(data.prepare(images="cifar10", cache=str(tmp_path)), expected)
    assert network.requests == 0


def test_cifar10_is_downloaded_into_an_empty_cache(tmp_path, small_cifar10, network):
    network.answer, expected = small_cifar10
    cache = tmp_path / "a new folder's cache"
    assert_is_small_cifar10(data.prepare(images="cifar10", cache=str(cache)), expected)
    assert network.requests > 0


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError(OSError(-2, "Name or service not known")),
        urllib.error.HTTPError("https://example.org", 503, "Service Unavailable", None, None),
        ConnectionResetError(104, "Connection reset by peer"),
        TimeoutError("timed out"),
        http.client.RemoteDisconnected("Remote end closed connection without response"),
        http.client.IncompleteRead(b"half"),
        http.client.BadStatusLine("<html>"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_without_network_the_error_of_cifar10_says_what_to_do(tmp_path, network, failure):
    network.answer = failure
    refused_cifar10(tmp_path)


@pytest.mark.parametrize("where", ["flipped byte", "truncated", "empty"])
def test_a_damaged_cifar10_archive_is_never_read(tmp_path, small_cifar10, network, where):
    archive, _ = small_cifar10
    damaged = bytearray(archive)
    if where == "flipped byte":
        damaged[len(damaged) // 2] ^= 1
    else:
        damaged = damaged[: len(damaged) // 2 if where == "truncated" else 0]
    (tmp_path / ARCHIVE).write_bytes(damaged)
    refused_cifar10(tmp_path)
    assert network.requests > 0  # the damage was noticed, and a new archive requested
    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_a_damaged_download_of_cifar10_is_refused(tmp_path, small_cifar10, network):
    archive, _ = small_cifar10
    network.answer = archive[:-100]
    refused_cifar10(tmp_path)
    assert not (tmp_path / "cifar-10-batches-py").exists()


def test_a_damaged_cifar10_archive_is_replaced_if_there_is_a_network(tmp_path, small_cifar10, network):
    network.answer, expected = small_cifar10
    (tmp_path / ARCHIVE).write_bytes(b"not an archive")
    assert_is_small_cifar10(data.prepare(images="cifar10", cache=str(tmp_path)), expected)


def test_a_damaged_unpacked_cifar10_is_unpacked_again(tmp_path, small_cifar10, network):
    archive, expected = small_cifar10
    (tmp_path / ARCHIVE).write_bytes(archive)
    data.prepare(images="cifar10", cache=str(tmp_path))
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = bytearray(batch.read_bytes())
    content[len(content) // 2] ^= 1
    batch.write_bytes(content)
    assert_is_small_cifar10(data.prepare(images="cifar10", cache=str(tmp_path)), expected)
    # Without the archive it is refused.
    batch.write_bytes(content)
    (tmp_path / ARCHIVE).unlink()
    refused_cifar10(tmp_path)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_writes_the_images_and_their_description(tmp_path, digits, capsys):
    settings = json.dumps({"images": "digits"})
    files = {"images": tmp_path / "data" / "images.npz", "summary": tmp_path / "data" / "images.json"}
    data.main(
        ["--settings", settings, "--cache", str(tmp_path / "cache"), "--folder"]
        + [text for name, file in files.items() for text in (f"--{name}", str(file))]
    )
    assert images.read(files["images"]).checksum() == digits.checksum()
    described = json.loads(files["summary"].read_text(encoding="utf-8"))
    assert described["sha256"] == digits.checksum()
    assert described["train"] + described["test"] == 1797
    assert [described[key] for key in ("channels", "height", "width")] == [1, 8, 8]
    assert described["mean"] == digits.mean.tolist()
    assert described["std"] == digits.std.tolist()
    assert described["classes"] == list("0123456789")
    assert "digits" in described["source"]
    assert "10 classes" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()
