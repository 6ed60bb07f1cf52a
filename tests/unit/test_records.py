"""The record of a result tells how it came about, and its fingerprints are those Snakemake compares."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from bnopt import gather, provenance
from bnopt.files import artefacts, fingerprints, records
from bnopt.runtime import StudyError
from bnopt.study import study

SOURCE = str(Path(records.__file__).parents[1])
MADE_BY = SimpleNamespace(stage="bnopt.rate_spread", settings={"lr": 0.1, "norm": "ü"}, code="abc")


def write(path, value=1, made_by=MADE_BY):
    artefacts.write_table(pd.DataFrame({"x": [value]}), path, made_by=made_by)
    return records.read(path)


def test_a_record_tells_how_a_table_came_about(tmp_path, monkeypatch):
    monkeypatch.setenv("BNOPT_COMMIT", "1234 + changes")
    path = tmp_path / "table.csv"
    record = write(path)
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["stage"] == "bnopt.rate_spread"
    assert record["settings"] == {"lr": 0.1, "norm": "ü"}
    assert record["code"] == "abc"
    assert record["commit"] == "1234 + changes"
    assert record["versions"]["pandas"] == pd.__version__
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["hardware"]["cores"] == os.cpu_count()
    assert record["hardware"]["processor"]
    age = datetime.now(UTC) - datetime.fromisoformat(record["started"])
    assert 0 <= age.total_seconds() - record["seconds"] < 3


def test_the_command_that_makes_a_file_anew_has_what_config_said(tmp_path, monkeypatch):
    monkeypatch.delenv("BNOPT_CONFIG", raising=False)
    assert str(records.damaged("a.csv", "it is")).endswith(": snakemake --force a.csv")
    monkeypatch.setenv("BNOPT_CONFIG", "scale=small 'images=two words'")
    said = str(records.damaged("a b.csv", "it is"))
    assert said.endswith(": snakemake --force 'a b.csv' --config scale=small 'images=two words'")


def run_stage(tmp_path, *plugins):
    """Return the record of a table written in a process that has loaded some plug-ins."""
    program = f"""
from types import SimpleNamespace
from bnopt import plugins
from bnopt.files import records
for kind, name in {plugins!r}:
    plugins.load(kind, name)
made_by = SimpleNamespace(stage="bnopt.train", settings=0, code="")
print(__import__("json").dumps(records.describe(b"", made_by)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("norm", ["noisy_batch", "l1", "none"])
def test_the_modules_of_a_record_make_the_fingerprint_that_snakemake_compares(tmp_path, norm):
    record = run_stage(tmp_path, ("tasks", "vgg"), ("norms", norm))
    planned = fingerprints.code_hash("bnopt.train", "bnopt.tasks.vgg", f"bnopt.norms.{norm}")
    assert fingerprints.combined(record["modules"]) == planned
    assert "torch" in record["versions"]


def test_all_records_of_a_folder_are_gathered(tmp_path):
    of_study = {"conditions": ["x", "y"], "probes": ["p"], "seeds": [0, 10]}
    kept = ["a.csv", "b/table.csv", "probes/p/y/seed0.csv", "runs/x/seed10/training.csv"]
    # Of conditions, probes and seeds that the study had before.
    others = ["probes/p/y/seed1.csv", "probes/p/z/seed0.csv", "probes/q/y/seed0.csv"]
    others += ["runs/x/seed1/training.csv", "runs/z/seed0/training.csv"]
    for name in kept + others:
        write(tmp_path / name)
    records.of(tmp_path / "lost.csv").write_text(records.of(tmp_path / "a.csv").read_text())
    found = gather.gather(tmp_path, **of_study)
    assert list(found) == kept
    full = records.read(tmp_path / "a.csv")
    assert full.pop("modules")
    assert found["a.csv"] == full
    # Nor does what was gathered before count as a result.
    write(tmp_path / gather.NAME)
    assert gather.gather(tmp_path, **of_study) == found


# -- what explains them to people -----------------------------------------------------------------


@pytest.mark.parametrize("stage", provenance.SETTINGS)
def test_what_a_stage_covers_are_its_modules_and_settings(config, stage, capsys):
    provenance.main([stage])
    said = capsys.readouterr().out
    for module in fingerprints.reached(f"bnopt.{stage}"):
        assert f"{fingerprints.module_hash(module)}  {module}\n" in said


def test_what_training_covers_is_told_in_full(config, capsys):
    provenance.main(["train"])
    said = capsys.readouterr().out
    keys = study.train_settings(config, "digits", "vgg_batch")
    assert f"  {', '.join(sorted(keys))}\n" in said.replace(", ".join(keys), ", ".join(sorted(keys)))
    assert "bnopt.norms.batch, bnopt.norms.noise, bnopt.norms.noisy_batch, bnopt.streams" in said
    assert "bnopt.tasks.deep_linear" in said
    assert "bnopt.probes" not in said


@pytest.mark.parametrize("stage", provenance.SETTINGS)
def test_at_a_scale_for_one_task_it_tells_of_that_task(changed, tmp_path, stage, capsys):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(changed(("scale", "deep-linear")), sort_keys=False))
    provenance.main([stage, "--configfile", str(file)])
    assert f"A result of {stage} is made anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "expected the configuration of a study, found .*No such file"),
        ("scales: [digits", "expected the configuration of a study, found while parsing"),
        ("scale: digits", "top level: expected the key"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_sentence(tmp_path, text, words):
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StudyError, match=words):
        provenance.main(["train", "--configfile", str(file)])


def test_of_one_result_it_tells_what_changed_since(tmp_path, capsys, monkeypatch):
    path = tmp_path / "table.csv"
    write(path)
    provenance.main(["rate_spread", str(path)])
    said = capsys.readouterr().out
    assert "settings.norm: ü\n" in said
    assert said.endswith("Code since:\n  unchanged\n")
    monkeypatch.setattr(fingerprints, "module_hash", lambda module: f"new {module}"[:20])
    provenance.main(["rate_spread", str(path)])
    assert "  bnopt.rate_spread: " in capsys.readouterr().out.split("Code since:")[1]


def test_of_two_results_it_tells_in_what_they_differ(tmp_path, capsys):
    first, second, third = (tmp_path / f"{name}.csv" for name in "abc")
    write(first)
    write(second)
    other = SimpleNamespace(stage=MADE_BY.stage, settings={"lr": 0.2, "norm": "ü", "n": {"a": 1}}, code="d")
    write(third, value=2, made_by=other)
    provenance.main(["rate_spread", str(first), str(second)])
    assert "nothing but when they were made" in capsys.readouterr().out
    provenance.main(["rate_spread", str(first), str(third)])
    lines = capsys.readouterr().out.splitlines()
    assert "  settings.lr: 0.1 -> 0.2" in lines
    assert "  settings.n.a: none -> 1" in lines
    assert sum("sha256" in line for line in lines) == 1
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "expected a stage, one of data, train"),
        (["train", "{table}"], "expected a result of train, found one of bnopt.rate_spread"),
        (["rate_spread", "{table}", "{table}", "{table}"], "expected at most two results"),
        (["train", "{missing}"], "expected its record"),
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(tmp_path, arguments, words):
    table = tmp_path / "table.csv"
    write(table)
    names = {"table": table, "missing": tmp_path / "missing.csv"}
    with pytest.raises(StudyError, match=words):
        provenance.main([argument.format(**names) for argument in arguments])


def test_the_commit_is_that_of_the_working_copy_and_tells_of_changes(tmp_path, monkeypatch):
    package = tmp_path / "src" / "bnopt"
    package.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit() == "unknown"
    file = package / "train.py"
    file.write_text("1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert provenance.commit() == head
    file.write_text("2\n")
    assert provenance.commit() == f"{head} + changes"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit() == "unknown"
