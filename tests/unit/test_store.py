"""What is kept of a scale's results, and what is said where there are none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnopt.files import artefacts

TOOL = Path(__file__).parents[2] / "tools" / "keep.py"


@pytest.fixture
def keep(tmp_path):
    """Function: arguments -> the tool, called in a repository of its own."""
    (tmp_path / "tools").mkdir()
    shutil.copy(TOOL, tmp_path / "tools")

    def keep(*arguments):
        command = [sys.executable, tmp_path / "tools" / "keep.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return keep


def test_verdicts_figures_and_records_are_kept_and_raw_tables_are_not(keep, tmp_path):
    results = tmp_path / "results" / "small"
    kept = [
        "statistics/claims.csv",
        "statistics/claims_sensitivity.csv",
        "statistics/theorems_over_seeds.csv",
    ]
    left = ["statistics/training_over_seeds.csv", "runs/vgg_none/seed0/training.csv"]
    for name in kept + left:
        artefacts.write_recorded(f"claim\n{name}\n", results / name)
    (results / "figures").mkdir()
    for name in (
        "figures/fig1.png",
        "figures/.fig1.png.7.partial.png",
        "figures/fig1.pdf",
        "provenance.json",
    ):
        (results / name).write_text(name)
    (tmp_path / "docs" / "results" / "small").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "small" / "of_before.csv").write_text("old")

    done = keep("small")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "docs" / "results" / "small"
    names = [Path(name).name for name in kept]
    expected = {*names, *(f"{name}.provenance.json" for name in names), "fig1.png", "provenance.json"}
    assert {file.name for file in folder.iterdir()} == expected
    for name in kept:
        assert artefacts.read_recorded(folder / Path(name).name) == f"claim\n{name}\n"


def test_what_is_kept_again_unchanged_keeps_its_time(keep, tmp_path):
    results, kept = (tmp_path / folder / "small" for folder in ("results", "docs/results"))
    for name in ("claims", "theorems"):
        artefacts.write_recorded("verdicts\n", results / "statistics" / f"{name}.csv")
    assert keep("small").returncode == 0
    for file in kept.iterdir():
        os.utime(file, (1, 1))
    artefacts.write_recorded("other verdicts\n", results / "statistics" / "claims.csv")
    assert keep("small").returncode == 0
    changed = {file.name for file in kept.iterdir() if file.stat().st_mtime != 1}
    assert changed == {"claims.csv", "claims.csv.provenance.json"}
    assert artefacts.read_recorded(kept / "claims.csv") == "other verdicts\n"


@pytest.mark.parametrize(
    ("arguments", "words"), [(["small"], "found no statistics/claims.csv"), ([], "0 arguments")]
)
def test_without_results_or_a_scale_it_says_what_to_do_and_removes_nothing(keep, tmp_path, arguments, words):
    before = tmp_path / "docs" / "results" / "small" / "claims.csv"
    before.parent.mkdir(parents=True)
    before.write_text("verdicts")
    done = keep(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert before.read_text() == "verdicts"
