"""With `keep_snapshots: false`, snapshots are deleted as soon as every probe has read them, not before."""

import copy
import re

import pytest

from bnopt.files.artefacts import read_table

VERDICTS = "results/tiny/statistics/claims.csv"


@pytest.fixture(scope="module")
def temporary(tmp_path_factory, new_study, pair_config):
    """A finished study of two conditions with `keep_snapshots: false`."""
    config = copy.deepcopy(pair_config)
    config["scales"]["tiny"]["keep_snapshots"] = False
    study = new_study(tmp_path_factory.mktemp("disk") / "study", config)
    study.run(VERDICTS)
    return study


def test_snapshots_are_gone_what_was_measured_on_them_is_there(temporary):
    assert list(temporary.results.rglob("step*.pt")) == []
    assert list(temporary.results.rglob("snapshots")) == []
    tables = sorted((temporary.results / "probes").rglob("*.csv"))
    assert len(tables) == 4
    assert all(set(read_table(table)["step"]) == {0, 3, 6, 9} for table in tables)


def test_without_them_nothing_reruns(temporary):
    assert temporary.planned(VERDICTS) == []


def test_a_probe_that_changes_trains_its_runs_again_as_the_page_says(temporary, tmp_path):
    study = temporary.copy_to(tmp_path / "copy")
    config = study.config
    config["probes"]["along_gradient"]["vgg"]["step_sizes"] = [1, 2]
    study.config = config
    jobs = study.planned(VERDICTS)
    assert sum(rule == "train" for rule, _ in jobs) == 4
    before = study.tables()
    study.run(VERDICTS)
    same = [name for name in before if name.startswith("runs/")]
    assert len(same) == 4
    assert all(study.tables()[name] == before[name] for name in same)


def test_a_switch_keeps_them(temporary, tmp_path, new_study):
    study = new_study(tmp_path / "study", temporary.config)
    study.run("--notemp", "results/tiny/probes/along_gradient/vgg_batch/seed0.csv")
    assert len(list(study.results.rglob("step*.pt"))) == 4


def test_with_one_gpu_the_snapshots_of_one_run_are_there_at_a_time(temporary, tmp_path, new_study):
    study = new_study(tmp_path / "study", temporary.config)
    done = study.snakemake("--resources", "gpu=1", "--", VERDICTS, profile=None)
    order = re.findall(r"^(?:local)?rule (train|probe):", done.stdout, flags=re.MULTILINE)
    assert done.returncode == 0, done.stdout
    assert order == ["train", "probe"] * 4
