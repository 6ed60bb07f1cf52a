"""Which files `tools/store.py` stores of a scale, and its message if there are no results."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnopt.files import artefacts

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "store.py"


@pytest.fixture
def store(tmp_path):
    """Function: arguments -> the finished process of the tool, called in a repository of its own."""
    (tmp_path / "tools").mkdir()
    shutil.copy(TOOL, tmp_path / "tools")

    def store(*arguments):
        command = [sys.executable, tmp_path / "tools" / "store.py", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return store


STORED = [
    "statistics/claims.csv",
    "statistics/claims_per_seed.csv",
    "statistics/claims_sensitivity.csv",
    "statistics/alternatives.csv",
    "statistics/theorems.csv",
    "data/images.json",
    "provenance.json",
]
NOT_STORED = [
    "statistics/training_per_seed.csv",
    "statistics/theorems_over_seeds.csv",
    "statistics/alternatives_per_seed.csv",
    "statistics/alternatives_sensitivity.csv",
    "theorems/random_layers.csv",
    "runs/vgg_none/seed0/training.csv",
]


def test_verdicts_and_their_records_are_stored_and_other_tables_are_not(store, tmp_path):
    results = tmp_path / "results" / "small"
    for name in STORED + NOT_STORED:
        artefacts.write_recorded(f"claim\n{name}\n", results / name)
    (results / "report").mkdir()
    for name in ("report.html", "report/report.pdf"):
        (results / name).write_text(name)
    (tmp_path / "docs" / "results" / "small").mkdir(parents=True)
    (tmp_path / "docs" / "results" / "small" / "of_before.csv").write_text("old")

    done = store("small")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "docs" / "results" / "small"
    names = [Path(name).name for name in STORED]
    assert {file.name for file in folder.iterdir()} == {
        *names,
        *(f"{name}.provenance.json" for name in names),
    }
    assert f"{folder}: {2 * len(names)} files" in done.stdout
    for name in STORED:
        assert artefacts.read_recorded(folder / Path(name).name) == f"claim\n{name}\n"
    # Nothing else is left in docs, and the results are still there.
    assert [entry.name for entry in (tmp_path / "docs").iterdir()] == ["results"]
    assert all((results / name).exists() for name in STORED + NOT_STORED)


PAGES = {
    "README.md": "![Landscape](docs/results/small/fig4.png) and ![again](docs/results/small/fig4.png)",
    "docs/small.md": "Text\n\n![a](results/small/fig10.png)\n![b](results/other/fig12.png)\n",
    "docs/other.md": "![a](results/smaller/fig13.png) [not a figure](results/small/claims.csv), fig5.png",
    "docs/notes.txt": "![a](results/small/fig6.png)",
    "docs/deep/page.md": "![a](../results/small/fig8.png)",
}


def test_of_figures_only_those_are_stored_that_a_page_shows(store, tmp_path):
    results = tmp_path / "results" / "small"
    artefacts.write_recorded("verdicts\n", results / "statistics" / "claims.csv")
    (results / "figures").mkdir()
    for number in (1, 4, 5, 6, 8, 10, 12, 13):
        for suffix in ("png", "pdf"):
            (results / "figures" / f"fig{number}.{suffix}").write_text(f"figure {number}")
    (results / "figures" / ".fig4.png.7.partial.png").write_text("half")
    for name, text in PAGES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = store("small")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "docs" / "results" / "small"
    stored = {file.name: file.read_text() for file in folder.glob("*fig*")}
    assert stored == {"fig4.png": "figure 4", "fig10.png": "figure 10"}


def test_a_figure_that_is_shown_but_not_drawn_is_no_error(store, tmp_path):
    artefacts.write_recorded("verdicts\n", tmp_path / "results" / "small" / "statistics" / "claims.csv")
    (tmp_path / "README.md").write_text("![Landscape](docs/results/small/fig4.png)")
    assert store("small").returncode == 0
    assert not (tmp_path / "docs" / "results" / "small" / "fig4.png").exists()


def test_the_figures_that_the_pages_of_the_repository_show_are_found():
    spec = importlib.util.spec_from_file_location("store", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert list(tool.STORED) == STORED
    for folder in (ROOT / "docs" / "results").iterdir():
        for name in tool.shown_figures(folder.name):
            assert (folder / name).exists(), f"{folder / name}: shown by a page and not stored"


def test_an_unchanged_file_that_is_stored_again_keeps_its_time(store, tmp_path):
    results, stored = (tmp_path / folder / "small" for folder in ("results", "docs/results"))
    for name in ("claims", "theorems"):
        artefacts.write_recorded("verdicts\n", results / "statistics" / f"{name}.csv")
    assert store("small").returncode == 0
    for file in stored.iterdir():
        os.utime(file, (1, 1))
    artefacts.write_recorded("other verdicts\n", results / "statistics" / "claims.csv")
    assert store("small").returncode == 0
    changed = {file.name for file in stored.iterdir() if file.stat().st_mtime != 1}
    assert changed == {"claims.csv", "claims.csv.provenance.json"}
    assert artefacts.read_recorded(stored / "claims.csv") == "other verdicts\n"


def test_an_interrupted_call_leaves_no_trace_after_the_next_one(store, tmp_path):
    artefacts.write_recorded("verdicts\n", tmp_path / "results" / "small" / "statistics" / "claims.csv")
    partial = tmp_path / "docs" / ".storing-small"
    partial.mkdir(parents=True)
    (partial / "half.csv").write_text("half")
    assert store("small").returncode == 0
    assert not partial.exists()
    assert not (tmp_path / "docs" / "results" / "small" / "half.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"), [(["small"], "found no statistics/claims.csv"), ([], "0 arguments")]
)
def test_without_results_or_a_scale_it_says_what_to_do_and_removes_nothing(store, tmp_path, arguments, words):
    before = tmp_path / "docs" / "results" / "small" / "claims.csv"
    before.parent.mkdir(parents=True)
    before.write_text("verdicts")
    done = store(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert before.read_text() == "verdicts"
