"""A user's mistake ends in a sentence that names it, before anything is trained."""

import copy
import re
import shutil

import numpy as np
import pytest
from PIL import Image

# No service listens there.
NOWHERE = f"http://{'.'.join(['127', '0', '0', '1'])}:9"


def assert_nothing_was_written(study):
    written = [file for file in study.folder.glob("results/**/*") if not file.is_dir()]
    assert written == [], "a job was done"


def assert_one_or_two_sentences(sentence):
    assert 1 <= len(re.split(r"[.!?]\s+(?=[A-Z])", sentence)) <= 2, sentence


def replace(config, path, value):
    *parents, key = path.split(" > ")
    for parent in parents:
        config = config[parent]
    config[key] = value


MISTAKES = {
    "unknown key": (
        ("conditions > vgg_none > momentun", 0.9),
        ["conditions.vgg_none", "expected only the keys task, norm, lr", "found momentun"],
    ),
    "lr as text": (
        ("conditions > vgg_none > lr", "1e-1"),
        ["conditions.vgg_none.lr", "type number", 'found the text "1e-1"', "write 1.0e-1"],
    ),
    "unknown norm": (
        ("conditions > vgg_batch > norm", "bach"),
        ["conditions.vgg_batch.norm", "expected one of batch", "found bach"],
    ),
    "missing condition in a claim": (
        ("claims > bn_trains_faster > condition_b", "vgg_non"),
        ["claims.bn_trains_faster.condition_b", "expected one of vgg_none", "found vgg_non"],
    ),
    "missing images": (
        ("scales > tiny > images", "no such folder"),
        ["images", "digits, cifar10 or an existing folder", "found no such folder"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_configuration_is_a_sentence(tmp_path, new_study, tiny_config, name):
    (path, value), words = MISTAKES[name]
    config = copy.deepcopy(tiny_config)
    replace(config, path, value)
    study = new_study(tmp_path / "study", config)
    said = study.refused()
    sentence = re.search(r"^error: (config\.yaml: .*)$", said, flags=re.MULTILINE)
    assert sentence, said
    assert_one_or_two_sentences(sentence[1])
    for word in words:
        assert word in sentence[1]
    assert_nothing_was_written(study)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("scale=papr", ["scale", "expected one of tiny", "found papr"]),
        ("images=no/such/folder", ["images", "existing folder", "found no/such/folder"]),
    ],
)
def test_a_mistake_on_the_command_line_is_a_sentence(tmp_path, new_study, tiny_config, option, words):
    study = new_study(tmp_path / "study", tiny_config)
    said = study.refused("--config", option)
    for word in words:
        assert word in said
    assert_nothing_was_written(study)


def test_a_configuration_that_is_no_yaml_is_refused(tmp_path, new_study, tiny_config):
    study = new_study(tmp_path / "study", tiny_config)
    file = study.folder / "config.yaml"
    file.write_text(file.read_text() + "\nscales: [digits\n")
    assert "Config file is not valid" in study.refused()
    assert_nothing_was_written(study)


# -- images ---------------------------------------------------------------------------------------


def write_image(path, shape=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(path)


def write_tree(root):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(2):
                write_image(root / part / name / f"{number}.png")


def empty_folder(root):
    shutil.rmtree(root)
    root.mkdir()
    return root / "train", "expected a folder with one folder per class, found none"


def no_test(root):
    shutil.rmtree(root / "test")
    return root / "test", "expected a folder with one folder per class, found none"


def one_class(root):
    for part in ("train", "test"):
        shutil.rmtree(root / part / "dog")
    return root / "train", "expected a folder for each of two or more classes, found cat"


def mixed_sizes(root):
    write_image(root / "test" / "cat" / "1.png", (8, 9))
    return root / "test" / "cat" / "1.png", "expected 8 x 8 pixels"


def mixed_channels(root):
    write_image(root / "train" / "dog" / "1.png", (8, 8, 3))
    return root / "train" / "dog" / "1.png", "expected 8 x 8 pixels with 1 channel"


def text_named_png(root):
    file = root / "train" / "dog" / "1.png"
    file.write_text("I am no image", encoding="utf-8")
    return file, "expected an image of 8 bits a channel"


def too_few(root):
    return root / "train", "expected at least as many images as the batch_size, 32"


def broken_image(root):
    file = root / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:-40])
    return file, "expected an image of 8 bits a channel"


DAMAGES = (
    empty_folder,
    no_test,
    one_class,
    mixed_sizes,
    mixed_channels,
    text_named_png,
    broken_image,
    too_few,
)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory, new_study, two_tasks_config):
    """A study with a scale per mistake in a folder of images, all asked for; per scale what is wrong."""
    folder = tmp_path_factory.mktemp("damaged")
    config = copy.deepcopy(two_tasks_config)
    [(_, sizes)] = config["scales"].items()
    config["scales"], wrong = {}, {}
    for damage in DAMAGES:
        root = folder / damage.__name__
        write_tree(root)
        wrong[damage.__name__] = damage(root)
        config["scales"][damage.__name__] = sizes | {"images": str(root)}
    config["scale"] = DAMAGES[0].__name__
    study = new_study(folder / "study", config)
    curves = [
        f"results/{scale}/runs/{condition}/seed0/training.csv"
        for scale in wrong
        for condition in config["conditions"]
    ]
    theorems = [f"results/{scale}/theorems/random_layers.csv" for scale in wrong]
    return study, study.refused("--keep-going", *curves, *theorems), wrong


@pytest.mark.parametrize("name", [damage.__name__ for damage in DAMAGES])
def test_images_that_cannot_be_used_are_named_in_a_sentence(damaged, name):
    study, said, wrong = damaged
    place, expected = wrong[name]
    log = (study.folder / "logs" / name / "prepare.log").read_text(encoding="utf-8")
    assert log.startswith(f"error: {place}: {expected}")
    assert log.strip() in said
    assert log.count("\n") == 1
    assert_one_or_two_sentences(log)


def test_nothing_is_trained_before_the_images_are_good_whether_needed_or_not(damaged):
    study, said, _ = damaged
    assert_nothing_was_written(study)
    assert "rule train:" not in said


def refused_cifar10(study, monkeypatch):
    """Ask for everything without a network; return what was said of CIFAR-10."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    said = study.refused("--config", "images=cifar10")
    [sentence] = set(re.findall(r"error: (CIFAR-10: .*?)\s*$", said, flags=re.MULTILINE))
    for word in ("resources/cifar10", "network", "cifar-10-python.tar.gz", "images=PATH"):
        assert word in sentence
    assert_one_or_two_sentences(sentence)
    assert_nothing_was_written(study)
    return sentence


def test_without_a_network_cifar10_is_a_sentence(tmp_path, new_study, two_tasks_config, monkeypatch):
    refused_cifar10(new_study(tmp_path / "study", two_tasks_config), monkeypatch)


def test_a_flipped_byte_in_the_cifar10_archive_is_a_sentence(
    tmp_path, new_study, two_tasks_config, monkeypatch
):
    study = new_study(tmp_path / "study", two_tasks_config)
    archive = study.folder / "resources" / "cifar10" / "cifar-10-python.tar.gz"
    archive.parent.mkdir(parents=True)
    # The true archive is not at hand; whatever is not the true one, to the byte, has another MD5 sum.
    archive.write_bytes(b"\x1f\x8b but not the images of CIFAR-10")
    refused_cifar10(study, monkeypatch)
    assert not (archive.parent / "cifar-10-batches-py").exists()
