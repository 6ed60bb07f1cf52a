"""A user's mistake stops the study before any training, with a sentence that names the mistake."""

import copy
import re
import shlex
import shutil

import numpy as np
import pytest
from PIL import Image

# No service listens at this address.
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
        ["conditions.vgg_none", "expected only the keys part, task, norm, lr", "found momentun"],
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
        ("claims > fig1 > bn_trains_faster > condition_b", "vgg_non"),
        ["claims.fig1.bn_trains_faster.condition_b", "expected one of vgg_none", "found vgg_non"],
    ),
    "missing images": (
        ("scales > tiny > images", "no such folder"),
        ["images", "cifar10, digits or an existing folder", "found no such folder"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_configuration_is_a_sentence(tmp_path, new_study, tiny_config, name):
    (path, value), words = MISTAKES[name]
    config = copy.deepcopy(tiny_config)
    replace(config, path, value)
    study = new_study(tmp_path / "study", config)
    said = study.refused()
    sentence = re.search(r"^error: ((?:config|claims)\.yaml: .*)$", said, flags=re.MULTILINE)
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


@pytest.mark.parametrize("file", ["norms/batch.py", "tasks/vgg.py"])
def test_a_mistake_in_a_plug_in_is_a_sentence(tmp_path, new_study, tiny_config, checkout, edited, file):
    study = new_study(tmp_path / "study", tiny_config)
    path = checkout / "src" / "bnopt" / file
    with edited(path, lambda text: f"{text}\ndef f(:\n"):
        line = len(path.read_text(encoding="utf-8").splitlines())
        said = study.refused("--dry-run")
    assert f"error: {path}, line {line}: expected Python, found a mistake (" in said
    assert_nothing_was_written(study)


@pytest.fixture(scope="module")
def two_scales(tmp_path_factory, new_study, two_tasks_config):
    """A study of two scales. The first is the chosen one; the second has sizes for one task only."""
    config = copy.deepcopy(two_tasks_config)
    config["scales"]["other"] = {k: v for k, v in config["scales"]["tiny"].items() if k != "vgg"}
    return new_study(tmp_path_factory.mktemp("two") / "study", config)


@pytest.mark.parametrize(("chosen", "asked"), [("tiny", "other"), ("other", "tiny")])
def test_a_file_of_another_scale_than_the_chosen_one_is_refused(two_scales, chosen, asked):
    """Otherwise it would be planned with the conditions and claims of the chosen scale."""
    file = f"results/{asked}/statistics/claims.csv"
    said = two_scales.refused(file, "--config", f"scale={chosen}")
    expected = f"error: {file}: expected a file of the scale {chosen}, found one of {asked}"
    assert f"{expected}; add --config scale={asked}" in said.splitlines()
    assert ("judge", {"scale": asked}) in two_scales.planned(file, "--config", f"scale={asked}")


@pytest.fixture(scope="module")
def three_parts(tmp_path_factory, new_study, two_tasks_config):
    """A study of the part paper; other parts have a figure, a condition, and the ranks of norms."""
    config = copy.deepcopy(two_tasks_config)
    config["conditions"]["vgg_new"] = {"part": "norms", "task": "vgg", "norm": "layer", "lr": 0.1}
    config["figures"]["fig5"] = {"part": "mechanism", "caption": "One.", "tables": {"training": ["vgg_none"]}}
    config["probes"] = {"along_gradient": {"vgg": {"step_sizes": [1]}}}
    of_tau = {"summary": "last", "compare": "difference", "sensitivity": []}
    config["quantities"]["beta"] = {"table": "along_gradient", "column": "beta"}
    config["quantities"]["tau_beta"] = {"table": "tau", "column": "beta"} | of_tau
    ranked = ["vgg_none", "vgg_new"]
    config["tau"] = {"part": "norms", "reference": ranked[0], "conditions": ranked}
    config["tau"]["measures"] = {"along_gradient": ["beta"]}
    claim = {"part": "norms", "label": "l", "source": "s", "statement": "t.", "quantity": "tau_beta"}
    claim |= {"condition_a": "all_norms", "condition_b": 0, "expected": "less"}
    config["claims"]["ranks"] = {"c": claim}
    return new_study(tmp_path_factory.mktemp("parts") / "study", config)


# File -> its part, and the rule that makes it.
OF_OTHER_PARTS = {
    "results/tiny/runs/vgg_new/seed0/training.csv": ("norms", "train"),
    "results/tiny/probes/along_gradient/vgg_new/seed0.csv": ("norms", "probe"),
    "results/tiny/statistics/tau_per_seed.csv": ("norms", "rank_norms"),
    "results/tiny/figures/fig5.png": ("mechanism", "draw"),
}


@pytest.mark.parametrize("file", OF_OTHER_PARTS)
def test_a_file_of_a_part_that_was_not_chosen_is_refused_with_the_option_it_needs(three_parts, file):
    """Otherwise Snakemake would say that no rule makes it, or a job would fail that has nothing to rank."""
    part, _ = OF_OTHER_PARTS[file]
    (said,) = [line for line in three_parts.refused(file).splitlines() if line.startswith("error: ")]
    sentence, _, option = said.partition("; add ")
    assert sentence == (
        f"error: {file}: expected a file of the chosen parts (paper), found one of the part {part}"
    )
    assert shlex.split(option) == ["--config", f"parts=[paper,{part}]"]


def test_the_option_of_the_sentence_makes_the_file(three_parts):
    said = three_parts.refused(*OF_OTHER_PARTS, "--config", "parts=[paper,mechanism]")
    assert "expected a file of the chosen parts (paper, mechanism), found one of the part norms" in said
    option = shlex.split(re.search(r"add (--config .*)$", said, flags=re.MULTILINE)[1])
    assert option == ["--config", "parts=[paper,mechanism,norms]"]
    assert {rule for _, rule in OF_OTHER_PARTS.values()} <= {
        rule for rule, _ in three_parts.planned(*OF_OTHER_PARTS, *option)
    }


def test_a_damaged_table_of_a_scale_that_config_chose_is_made_anew_by_the_command_named(two_scales):
    choice = ["--config", "scale=other", "seeds=[0,3]"]
    table = "results/other/statistics/training_per_seed.csv"
    two_scales.run(table, *choice)
    curve = two_scales.folder / "results/other/runs/deep_linear_none/seed3/training.csv"
    whole = curve.read_bytes()
    curve.write_bytes(whole[:-9])
    said = two_scales.refused(table, "--force", *choice)
    two_scales.run(*shlex.split(re.search(r"to make it again: snakemake (.*)", said)[1]))
    assert curve.read_bytes() == whole
    assert two_scales.planned(table, *choice) == [("summarise", {"scale": "other", "table": "training"})]


def test_a_configuration_that_is_no_yaml_is_refused(tmp_path, new_study, tiny_config):
    study = new_study(tmp_path / "study", tiny_config)
    file = study.folder / "config.yaml"
    file.write_text(file.read_text() + "\nscales: [digits\n")
    assert re.search(r"error: config\.yaml, line \d+: expected YAML", study.refused())
    assert_nothing_was_written(study)


@pytest.mark.parametrize(
    ("name", "encoding", "words"),
    [
        ("claims.yaml", "latin-1", "the byte 0xe9 in line 1"),
        ("config.yaml", "utf-16", "the byte 0xff in line 1"),
    ],
)
def test_a_configuration_in_another_encoding_is_a_sentence(
    tmp_path, new_study, two_tasks_config, name, encoding, words
):
    study = new_study(tmp_path / "study", two_tasks_config)
    text = (study.folder / name).read_text(encoding="utf-8")
    (study.folder / name).write_bytes(f"# é\n{text}".encode(encoding, errors="replace"))
    said = study.refused("--dry-run")
    assert f"error: {name}: expected text in UTF-8, found {words}" in said
    assert "save the file as UTF-8" in said


def test_a_configuration_that_the_locale_cannot_read_is_a_sentence(
    tmp_path, new_study, two_tasks_config, monkeypatch
):
    """Latin-1 would be read silently, as other letters."""
    study = new_study(tmp_path / "study", two_tasks_config)
    file = study.folder / "config.yaml"
    file.write_text(f"# β\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
    for variable, value in (("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0")):
        monkeypatch.setenv(variable, value)
    assert "error: config.yaml: expected a locale with UTF-8" in study.refused("--dry-run")
    monkeypatch.setenv("PYTHONUTF8", "1")
    study.run("--dry-run")


# -- images ---------------------------------------------------------------------------------------


def write_image(path, shape=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(path)


def write_tree(root):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(2):
                write_image(root / part / name / f"{number}.png")


def one_class(root):
    for part in ("train", "test"):
        shutil.rmtree(root / part / "dog")
    return root / "train", "expected a folder for each of two or more classes, found cat"


def too_few(root):
    return root / "train", "expected at least as many images as the batch_size, 32"


def broken_image(root):
    file = root / "train" / "dog" / "1.png"
    file.write_bytes(file.read_bytes()[:-40])
    return file, "expected an image of 8 bits per channel"


@pytest.mark.parametrize("damage", [one_class, broken_image, too_few])
def test_images_that_cannot_be_used_are_named_in_a_sentence_before_anything_is_trained(
    tmp_path, new_study, two_tasks_config, damage
):
    """Runs that need no images do not start either. Other faults of a folder give the same kind of error."""
    root = tmp_path / "images"
    write_tree(root)
    place, expected = damage(root)
    study = new_study(tmp_path / "study", two_tasks_config | {"images": str(root)})
    said = study.refused()
    log = (study.folder / "logs" / "tiny" / "prepare.log").read_text(encoding="utf-8")
    assert log.startswith(f"error: {place}: {expected}")
    assert log.strip() in said
    assert log.count("\n") == 1
    assert_one_or_two_sentences(log)
    assert_nothing_was_written(study)
    assert "rule train:" not in said


def refused_cifar10(study, monkeypatch):
    """Run the study with CIFAR-10 and no network; return the error message about CIFAR-10."""
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
    # The real archive is not available here. Any other content has another MD5 sum, as a flipped byte has.
    archive.write_bytes(b"\x1f\x8b but not the images of CIFAR-10")
    refused_cifar10(study, monkeypatch)
    assert not (archive.parent / "cifar-10-batches-py").exists()
