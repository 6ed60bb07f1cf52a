"""What another call of Snakemake needs to be about the same study, and where a mistake is looked for."""

from types import SimpleNamespace

import pytest
import yaml

from bnopt.study import calls


def settings(config=None, files=(), replace=False):
    return SimpleNamespace(config=config or {}, configfiles=files, replace_workflow_config=replace)


@pytest.mark.parametrize(
    "value", ["digits", "two words", "2018", "true", "[x", "", "a: b", 3, [0, 1], {"a": 1}, None, True]
)
def test_a_value_reads_as_the_same_value(value):
    """Snakemake reads what follows = as YAML; what is no YAML stays text."""
    (_, pair) = calls.options(settings({"key": value}), {})
    text = pair.removeprefix("key=")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = text
    assert found == value


@pytest.mark.parametrize(
    "name", ["2018", "true", "~", "a # b", "a: b", "[x]", "- a", "two words", "[x", '"q"']
)
def test_a_folder_of_images_keeps_its_name_from_call_to_call(name):
    """Snakemake reads the option as YAML, as far as it can, before `restore_words` sees it."""
    try:
        config = {"images": yaml.safe_load(name)}
    except yaml.YAMLError:
        config = {"images": name}
    calls.restore_words(config, SimpleNamespace(config_args=[f"images={name}"]))
    assert config == {"images": name}
    assert calls.options(settings(dict(config)), config) == ["--config", f"images={name}"]


@pytest.mark.parametrize(
    ("written", "seeds"), [(["0", "12"], [0, 12]), (["-1", "x", "1.5", "²"], [-1, "x", "1.5", "²"])]
)
def test_seeds_are_whole_numbers(written, seeds):
    config = {"seeds": written}
    calls.restore_words(config, SimpleNamespace(config_args=["seeds=[...]"]))
    assert config == {"seeds": seeds}


def test_files_are_named_as_seen_from_the_folder_of_the_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / "mine.yaml", tmp_path.parent / "other.yaml"]
    assert calls.options(settings(files=files, replace=True), {}) == [
        *("--configfile", "mine.yaml", str(tmp_path.parent / "other.yaml")),
        "--replace-workflow-config",
    ]
    assert calls.options(settings(), {}) == []


def test_an_error_is_named_also_where_the_studys_own_files_are_missing_or_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("scale: x", encoding="utf-8")
    text = "config.yaml: conditions.a: expected x, found y"
    assert calls.naming(text, settings()) == text
    assert calls.naming(text, settings(files=[tmp_path / "mine.yaml"])) == text
    (tmp_path / "config.yaml").write_text("conditions: {a: 1}", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("conditions: {b: 1}", encoding="utf-8")
    assert calls.naming(text, settings(files=[tmp_path / "mine.yaml"])) == text
    of_mine = calls.naming(text, settings(files=[tmp_path / "mine.yaml"], replace=True))
    assert of_mine == text.replace("config.yaml", "mine.yaml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("config.yaml: figures.fig4: expected x, found y", "mine.yaml: figures.fig4: expected x, found y"),
        ("config.yaml: figures.fig5: expected x, found y", "config.yaml: figures.fig5: expected x, found y"),
        ("config.yaml: seeds: expected x, found y", "--config: seeds: expected x, found y"),
        ("other.yaml: expected a file", "other.yaml: expected a file"),
        # An unknown key, which `schema` cannot tell where it stands.
        (
            "config.yaml: quantitys: expected only the keys x",
            "claims.yaml: quantitys: expected only the keys x",
        ),
        # A name with a dot.
        ("config.yaml: conditions.lr0.5.lr: expected x", "mine.yaml: conditions.lr0.5.lr: expected x"),
        ("config.yaml: conditions.lr0: expected x", "config.yaml: conditions.lr0: expected x"),
        # What a placeholder has given.
        (
            "claims.yaml: claims.own.of_l1.margin: expected x",
            "mine.yaml: claims.own.of_l1.margin: expected x",
        ),
        ("claims.yaml: claims.own.a.margin: expected x", "claims.yaml: claims.own.a.margin: expected x"),
        # A key with a remark.
        (
            "config.yaml: figures.fig4.layers (scale digits): expected x",
            "mine.yaml: figures.fig4.layers (scale digits): expected x",
        ),
    ],
)
def test_an_error_names_the_file_or_option_that_holds_the_key(tmp_path, monkeypatch, text, named):
    monkeypatch.chdir(tmp_path)
    mine = {
        "figures": {"fig4": {"captoin": "x"}},
        "conditions": {"lr0.5": {"lr": 0.5}},
        "claims": {"own": {"of_{norm}": {"margin": 1}}},
    }
    of_study = {
        "config": {"conditions": {"lr0": {"lr": 0}}, "figures": {"fig5": {}}},
        "claims": {"claims": {"own": {"a": {"margin": 1}}}, "quantitys": {}},
    }
    for name, written in ({"mine": mine} | of_study).items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    of_call = settings({"seeds": [1]}, [tmp_path / "mine.yaml"])
    assert calls.naming(text, of_call) == named
