"""The record of a result says how it was made, with the fingerprints that Snakemake compares."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bnopt import gather, provenance
from bnopt.files import artefacts, fingerprints, records
from bnopt.runtime import Job, StudyError
from bnopt.study import schema, study

SOURCE = str(Path(records.__file__).parents[2])
USED = ("seconds", "cpu_seconds", "memory_mib")
JOB = Job(stage="bnopt.rate_spread", settings={"lr": 0.1, "norm": "ü"}, code="abc")


def write(path, value=1, job=JOB):
    artefacts.write_table(pd.DataFrame({"x": [value]}), path, job=job)
    return records.read(path)


def test_a_record_says_how_a_table_was_made(tmp_path, monkeypatch):
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


BUSY = """
import time
import numpy as np
from bnopt.files import records
before = records.used()
block = np.ones((64, 1024, 1024), dtype=np.uint8)
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
time.sleep(0.2)
print(__import__("json").dumps([before, records.used(), time.process_time()]))
"""


def test_a_job_measures_its_time_and_memory_from_its_very_start():
    done = subprocess.run(
        [sys.executable, "-c", f"import bnopt\n{BUSY}"],
        env=os.environ | {"PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after, cpu_seconds = json.loads(done.stdout)
    # numpy was imported in between.
    assert before["seconds"] > 0.01
    assert after["cpu_seconds"] == pytest.approx(cpu_seconds, abs=0.05)
    assert after["cpu_seconds"] - before["cpu_seconds"] >= 0.29
    assert after["seconds"] - before["seconds"] >= 0.49
    # Without the memory of this process, which started it and is larger.
    assert 63 <= after["memory_mib"] - before["memory_mib"] < 100


def test_two_jobs_that_start_at_once_can_be_told_apart():
    starts = {run_stage()["started"] for _ in range(2)}
    assert len(starts) == 2
    assert all(datetime.fromisoformat(start).microsecond for start in starts)


def test_outside_a_stage_a_record_names_no_stage(tmp_path):
    record = write(tmp_path / "table.csv", job=None)
    assert not {"stage", "settings", "code", "modules"} & set(record)
    assert {"sha256", "commit", "versions", "hardware", "started", *USED} == set(record)


def test_the_command_that_makes_a_file_again_repeats_the_options(tmp_path, monkeypatch):
    monkeypatch.delenv("BNOPT_OPTIONS", raising=False)
    assert str(records.damaged("a.csv", "it is")).endswith(": snakemake --force a.csv")
    monkeypatch.setenv("BNOPT_OPTIONS", "--config scale=small 'images=two words'")
    said = str(records.damaged("a b.csv", "it is"))
    assert said.endswith(": snakemake --force 'a b.csv' --config scale=small 'images=two words'")


def run_stage(*plugins):
    """Return the record of a table that a process writes after it has loaded these plug-ins."""
    program = f"""
from bnopt import plugins
from bnopt.files import records
from bnopt.runtime import Job
for kind, name in {plugins!r}:
    plugins.load(kind, name)
job = Job(stage="bnopt.train", settings={{}}, code="")
print(__import__("json").dumps(records.describe(b"", job)))
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
def test_the_modules_of_a_record_make_the_fingerprint_that_snakemake_compares(norm):
    record = run_stage(("tasks", "vgg"), ("norms", norm))
    planned = fingerprints.code_hash("bnopt.train", "bnopt.tasks.vgg", f"bnopt.norms.{norm}")
    assert fingerprints.combined(record["modules"]) == planned
    assert "torch" in record["versions"]


STUDY = {"tables": {"training": ["x", "y"], "p": ["y"], "rate_spread": ["x"]}, "seeds": [0, 10]}
# Tables of single runs that the study needs, and tables of several runs, in the order of their paths.
OF_THE_STUDY = [
    "data/images.json",
    *("probes/p/y/seed0.csv", "probes/p/y/seed10.csv", "probes/rate_spread/x/seed0.csv"),
    *("runs/x/seed10/training.csv", "runs/y/seed0/training.csv"),
    *("statistics/alternatives_per_seed.csv", "statistics/claims.csv", "statistics/p_over_seeds.csv"),
    *("statistics/theorems.csv", "theorems/random_layers.csv"),
]
# Tables of conditions, probes and seeds that are not of the study, for instance of an earlier one; figures
# and reports; copies that editors and synchronisations leave.
OTHERS = [
    *("statistics/q_per_seed.csv", "figures/fig4.pdf", "report/report.tex"),
    *("runs/y/seed0/training (conflicted copy).csv", "runs/y/seed0/training-LAPTOP.csv"),
    *("statistics/claims (1).csv", "data/images-LAPTOP.json", "probes/p/y/seed0 2.csv"),
    *("probes/p/x/seed0.csv", "probes/p/y/seed1.csv", "probes/p/z/seed0.csv", "probes/q/y/seed0.csv"),
    *("probes/rate_spread/y/seed0.csv", "probes/training/x/seed7.csv"),
    *("runs/x/seed1/training.csv", "runs/z/seed0/training.csv"),
]


def test_the_records_of_the_tables_of_a_study_are_gathered(tmp_path):
    for name in OTHERS + OF_THE_STUDY:
        write(tmp_path / name)
    lost = tmp_path / "statistics" / "p_per_seed.csv"
    records.of(lost).write_text(records.of(tmp_path / "data/images.json").read_text())
    found = gather.gather(tmp_path, **STUDY)
    assert list(found) == OF_THE_STUDY
    full = records.read(tmp_path / "data/images.json")
    assert full.pop("modules")
    assert found["data/images.json"] == full
    # The file gathered before and partial files do not count as results.
    write(tmp_path / "provenance.json")
    write(tmp_path / "statistics" / ".claims.csv.7.partial.csv")
    assert gather.gather(tmp_path, **STUDY) == found


def test_tables_that_a_changed_study_does_not_need_any_more_are_left_out(tmp_path):
    for name in OF_THE_STUDY:
        write(tmp_path / name)
    fewer = {"tables": {"training": ["y"], "p": []}, "seeds": [0]}
    expected = [
        name for name in OF_THE_STUDY if "p_over" not in name and not name.startswith(("probes", "runs"))
    ]
    assert sorted(gather.gather(tmp_path, **fewer)) == sorted(
        [*expected, "runs/y/seed0/training.csv", "statistics/p_over_seeds.csv"]
    )


def test_gathering_takes_the_settings_of_its_job(config, tmp_path, capsys):
    """The settings that the study gives the job are the arguments, and the file has its own record."""
    of_study = study.written_out(config)
    settings = study.gather_settings(of_study)
    assert settings == {"tables": of_study["tables"], "seeds": [0, 1, 2]}
    for name in ("runs/vgg_batch/seed2/training.csv", "runs/vgg_batch/seed3/training.csv"):
        write(tmp_path / name)
    file = tmp_path / "provenance.json"
    run_module("bnopt.gather", "--settings", json.dumps(settings), "--code", "c", "--provenance", str(file))
    assert list(json.loads(artefacts.read_recorded(file))) == ["runs/vgg_batch/seed2/training.csv"]
    assert (records.read(file)["settings"], records.read(file)["code"]) == (settings, "c")


def run_module(module, *arguments):
    subprocess.run(
        [sys.executable, "-m", module, *arguments], env=os.environ | {"PYTHONPATH": SOURCE}, check=True
    )


# -- python -m bnopt.provenance -------------------------------------------------------------------


def test_the_stages_are_those_that_have_settings():
    expected = (
        "data train probe rate_spread tau random_layers statistics theorem_table claims specifications "
        "figure gather report page compile"
    )
    assert list(provenance.STAGES) == expected.split()


@pytest.mark.parametrize("stage", provenance.STAGES)
def test_what_a_stage_covers_are_its_modules_and_settings(config, stage, capsys):
    provenance.main([stage])
    said = capsys.readouterr().out
    for module in fingerprints.reached(f"bnopt.{stage}"):
        assert f"{fingerprints.module_hash(module)}  {module}\n" in said
    assert ("Settings of the job:\n  none" in said) == (stage in ("rate_spread", "compile"))


def test_what_training_covers_is_listed_in_full(config, capsys):
    provenance.main(["train"])
    said = capsys.readouterr().out
    keys = study.train_settings(study.written_out(config), "vgg_batch")
    assert f"  {', '.join(sorted(keys))}\n" in said.replace(", ".join(keys), ", ".join(sorted(keys)))
    assert "bnopt.norms.batch, bnopt.norms.noise, bnopt.norms.noisy_batch, bnopt.run.streams" in said
    assert "bnopt.tasks.deep_linear" in said
    assert "bnopt.probes" not in said


def written(config, folder):
    """Write a configuration as config.yaml and claims.yaml; return the options that name both."""
    parts = ({}, {})
    for key, of_key in config.items():
        parts[key in schema.CLAIMS_SECTIONS][key] = of_key
    files = [folder / "config.yaml", folder / "claims.yaml"]
    for file, part in zip(files, parts, strict=True):
        file.write_text(yaml.safe_dump(part, sort_keys=False))
    return ["--configfile", *map(str, files)]


@pytest.mark.parametrize("stage", provenance.STAGES)
def test_at_a_scale_for_one_task_it_lists_the_settings_of_that_task(changed, tmp_path, stage, capsys):
    options = written(changed(("scale", "deep-linear")), tmp_path)
    if stage in ("tau", "rate_spread"):  # they are about the VGG
        with pytest.raises(StudyError, match=f"{stage}: expected a study with a job of this stage"):
            provenance.main([stage, *options])
        return
    provenance.main([stage, *options])
    assert f"A result of {stage} is made again" in capsys.readouterr().out


def test_a_study_without_probes_and_figures_has_no_jobs_of_them(changed, tmp_path, capsys):
    empty = ("probes", "figures", "rate_spread", "quantities", "claims", "alternatives")
    options = written(changed(*((section, {}) for section in empty), ("tau", ...)), tmp_path)
    for stage in provenance.STAGES:
        if stage in ("probe", "figure", "tau", "rate_spread"):
            with pytest.raises(StudyError, match=f"{stage}: expected a study with a job of this stage"):
                provenance.main([stage, *options])
        else:
            provenance.main([stage, *options])
            assert f"A result of {stage} is made again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "expected part of the configuration of a study, found .*No such file"),
        ("scales: [digits", "expected part of the configuration of a study, found while parsing"),
        ("", "expected part of the configuration of a study, found no keys"),
        ("- scale", "expected part of the configuration of a study, found no keys"),
        ("scale: 2001-13-01", "expected part of the configuration of a study, found month must be"),
        ("scale: a\nscale: b", "scale: expected this key once, found it in lines 1 and 2"),
        ("scale: digits", "top level: expected the key"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_a_sentence(tmp_path, text, words):
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StudyError, match=words):
        provenance.main(["train", "--configfile", str(file)])


def test_for_one_result_it_says_what_changed_since(tmp_path, capsys, monkeypatch):
    path = tmp_path / "table.csv"
    write(path)
    provenance.main(["rate_spread", str(path)])
    said = capsys.readouterr().out
    assert "settings.norm: ü\n" in said
    assert said.endswith("Code since:\n  unchanged\n")
    monkeypatch.setattr(fingerprints, "module_hash", lambda module: f"new {module}"[:20])
    provenance.main(["rate_spread", str(path)])
    assert "  bnopt.rate_spread: " in capsys.readouterr().out.split("Code since:")[1]


def test_for_two_results_it_says_how_they_differ(tmp_path, capsys):
    first, second, third = (tmp_path / f"{name}.csv" for name in "abc")
    write(first)
    write(second)
    other = Job(stage=JOB.stage, settings={"lr": 0.2, "norm": "ü", "n": {"a": 1}}, code="d")
    write(third, value=2, job=other)
    provenance.main(["rate_spread", str(first), str(second)])
    assert "none, except when they were made" in capsys.readouterr().out
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
        (["train", "{missing}"], "expected a table with its record, found no such file"),
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(tmp_path, arguments, words):
    table = tmp_path / "table.csv"
    write(table)
    names = {"table": table, "missing": tmp_path / "missing.csv"}
    with pytest.raises(StudyError, match=words):
        provenance.main([argument.format(**names) for argument in arguments])


GIT = ["-c", "user.name=x", "-c", "user.email=x"]


def git(folder, *words):
    command = ["git", "-C", str(folder), *GIT, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A checkout in a folder of its own, with a file of code and one of results, no repository yet."""
    folder = tmp_path / "outer" / "checkout"
    for name in ("src/bnopt/train.py", "config.yaml", "results/table.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1\n")
    (folder / ".gitignore").write_text("results/\n__pycache__/\n")
    return folder


def committed(folder):
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD")


def test_the_commit_is_that_of_the_checkout(checkout, monkeypatch):
    head = committed(checkout)
    git(checkout, "tag", "v1")
    assert provenance.commit(checkout) == head
    # Within a hook of another repository, git's own variables name that one.
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(checkout / "elsewhere"))
    assert provenance.commit(checkout) == head
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_INDEX_FILE")
    worktree = checkout.parent / "worktree"
    git(checkout, "worktree", "add", "-q", str(worktree))
    assert provenance.commit(worktree) == head
    link = checkout.parent / "link"
    link.symlink_to(checkout)
    assert provenance.commit(link) == head


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("src/bnopt/train.py", True),
        ("src/bnopt/norms/mine.py", True),
        ("mine.yaml", True),
        ("workflow/more.smk", True),
        ("paper/more.tex", True),
        ("notes.txt", False),
        ("results/other.csv", False),
        ("src/bnopt/__pycache__/train.py", False),
    ],
)
def test_changed_files_and_new_ones_that_jobs_may_read_are_changes(checkout, file, changes):
    head = committed(checkout)
    (checkout / file).parent.mkdir(parents=True, exist_ok=True)
    (checkout / file).write_text("2\n")
    assert provenance.commit(checkout) == (f"{head} + changes" if changes else head)


def test_a_staged_and_a_deleted_file_are_changes(checkout):
    head = committed(checkout)
    (checkout / "src/bnopt/train.py").unlink()
    assert provenance.commit(checkout) == f"{head} + changes"
    git(checkout, "add", "-A")
    assert provenance.commit(checkout) == f"{head} + changes"


def test_an_unknown_commit_says_why(checkout, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parents[2]))
    assert provenance.commit(checkout) == "unknown (the checkout is no git repository)"
    # A repository around the checkout says nothing about its code.
    committed(checkout.parent)
    said = "unknown (the checkout is not a repository of its own, it lies in another)"
    assert provenance.commit(checkout) == said
    git(checkout, "init", "-q")
    assert provenance.commit(checkout) == "unknown (the repository has no commit yet)"
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.commit(checkout) == "unknown (git is not installed)"


def test_a_repository_of_another_user_is_named_as_the_reason():
    said = "fatal: detected dubious ownership in repository at '/of/somebody'"
    assert provenance._reason(said) == "git refuses a repository of another user, see safe.directory"
    assert provenance._reason("fatal: something else") == "git failed"
