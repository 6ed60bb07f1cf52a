"""A user's mistake ends in a sentence that names it, before anything is trained."""

import copy
import re

import numpy as np
import pytest
from PIL import Image


def assert_nothing_was_trained(study):
    assert not list(study.folder.glob("results/*/runs")), "a training job was started"


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
    for word in words:
        assert word in sentence[1]
    assert_nothing_was_trained(study)


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
    assert_nothing_was_trained(study)


def test_a_configuration_that_is_no_yaml_is_refused(tmp_path, new_study, tiny_config):
    study = new_study(tmp_path / "study", tiny_config)
    file = study.folder / "config.yaml"
    file.write_text(file.read_text() + "\nscales: [digits\n")
    assert "Config file is not valid" in study.refused()
    assert_nothing_was_trained(study)


def broken_image(root):
    file = root / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:-40])
    return str(file)


def one_class(root):
    for part in ("train", "test"):
        for file in (root / part / "dog").iterdir():
            file.unlink()
        (root / part / "dog").rmdir()
    return str(root / "train")


@pytest.mark.parametrize("damage", [broken_image, one_class])
def test_images_that_cannot_be_used_are_named_and_nothing_is_trained(
    tmp_path, new_study, pair_config, damage
):
    root = tmp_path / "images"
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    place = damage(root)
    study = new_study(tmp_path / "study", pair_config)
    said = study.refused("--config", f"images={root}")
    assert f"error: {place}: expected" in said
    assert (study.folder / "logs" / "tiny" / "prepare.log").read_text().count("\n") == 1
    assert_nothing_was_trained(study)
