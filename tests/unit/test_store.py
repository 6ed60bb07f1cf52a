"""Which files `tools/store.py` stores of a scale, and its message if there are no results."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnopt.files import artefacts
from bnopt.runtime import Job

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


@pytest.fixture
def make(tmp_path):
    """Function: names of figures -> the folder of the results of a complete study with these figures."""
    results = tmp_path / "results" / "small"

    def make(*figures):
        for name in STORED:
            artefacts.write_recorded(f"claim\n{name}\n", results / name)
        settings = {"captions": dict.fromkeys(figures, "A figure.")}
        artefacts.write_recorded("text", results / "report" / "report.tex", job=Job("bnopt.report", settings))
        for name in (*figures, "claims"):
            draw(results / "figures" / f"{name}.png")
        return results

    return make


STORED = [
    "statistics/claims.csv",
    "statistics/claims_per_seed.csv",
    "statistics/claims_sensitivity.csv",
    "statistics/alternatives.csv",
    "statistics/specifications.csv",
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


def test_verdicts_and_their_records_are_stored_and_other_tables_are_not(store, make, tmp_path):
    results = make()
    for name in NOT_STORED:
        artefacts.write_recorded(f"claim\n{name}\n", results / name)
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
        "claims.png",
    }
    assert f"{folder}: {2 * len(names) + 1} files" in done.stdout
    for name in STORED:
        assert artefacts.read_recorded(folder / Path(name).name) == f"claim\n{name}\n"
    # Nothing else is left in docs, and the results are still there.
    assert [entry.name for entry in (tmp_path / "docs").iterdir()] == ["results"]
    assert all((results / name).exists() for name in STORED + NOT_STORED)


FIGURES = ("fig1", "fig10", "theorems", "edge")


def draw(file, seed=0):
    """Write an image of many colours and of a width that only this image has; return its pixels."""
    across, noise = np.arange(600 + len(file.stem)), np.random.default_rng(seed)
    plain = np.stack([across % 256, across // 3, 255 - across // 4], axis=1)
    pixels = np.clip(plain + noise.integers(-3, 4, size=(40, len(across), 3)), 0, 255)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype("uint8")).save(file)
    return pixels


def test_figures_are_stored_as_lighter_images_and_curves_and_documents_are_not(store, make, tmp_path):
    figures = make(*FIGURES) / "figures"
    drawn = {f"{name}.png": draw(figures / f"{name}.png") for name in (*FIGURES, "claims")}
    draw(figures / "specification_bn_smooths_loss.png")
    (figures / "fig1.pdf").write_text("a document")
    (figures / ".fig4.png.7.partial.png").write_text("half")
    done = store("small")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "docs" / "results" / "small"
    assert {file.name for file in folder.glob("*.p[dn]*")} == set(drawn)
    for name, pixels in drawn.items():
        with Image.open(folder / name) as image:
            assert len(image.getcolors()) <= 64
            stored = np.asarray(image.convert("RGB")).astype(int)
        assert stored.shape == pixels.shape
        assert np.abs(stored - pixels).mean() < 8
        assert (folder / name).stat().st_size < (figures / name).stat().st_size


def test_only_the_figures_of_the_study_are_stored(store, make, tmp_path):
    figures = make("fig1") / "figures"
    for left in ("old_figure", "fig1 (1)", "fig2"):
        draw(figures / f"{left}.png")
    assert store("small").returncode == 0
    stored = tmp_path / "docs" / "results" / "small"
    assert {file.name for file in stored.glob("*.png")} == {"fig1.png", "claims.png"}


def test_a_thin_line_keeps_its_colour_beside_a_thicker_one_of_many_shades(store, make, tmp_path):
    thick, thin = (213, 94, 0), (230, 159, 0)
    shades = np.linspace(thick, (255, 255, 255), 400)[None].repeat(300, axis=0).round()
    shades[100:102] = thin
    Image.fromarray(shades.astype("uint8")).save(make("fig1") / "figures" / "fig1.png")
    assert store("small").returncode == 0
    with Image.open(tmp_path / "docs" / "results" / "small" / "fig1.png") as image:
        stored = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(stored[100:102] - thin).max() < 12


def test_the_repository_stores_what_the_tool_stores():
    spec = importlib.util.spec_from_file_location("store", TOOL)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert list(tool.STORED) == STORED


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=str)
def test_every_image_that_a_page_shows_is_in_the_repository(page):
    for shown in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / shown).is_file(), shown


def test_an_unchanged_file_that_is_stored_again_keeps_its_time(store, make, tmp_path):
    results, stored = make("fig1", "fig2"), tmp_path / "docs" / "results" / "small"
    assert store("small").returncode == 0
    for file in stored.iterdir():
        os.utime(file, (1, 1))
    artefacts.write_recorded("other verdicts\n", results / "statistics" / "claims.csv")
    draw(results / "figures" / "fig2.png", seed=1)
    assert store("small").returncode == 0
    changed = {file.name for file in stored.iterdir() if file.stat().st_mtime != 1}
    assert changed == {"claims.csv", "claims.csv.provenance.json", "fig2.png"}
    assert artefacts.read_recorded(stored / "claims.csv") == "other verdicts\n"


def test_an_interrupted_call_leaves_no_trace_after_the_next_one(store, make, tmp_path):
    make()
    partial = tmp_path / "docs" / ".storing-small"
    partial.mkdir(parents=True)
    (partial / "half.csv").write_text("half")
    assert store("small").returncode == 0
    assert not partial.exists()
    assert not (tmp_path / "docs" / "results" / "small" / "half.csv").exists()


@pytest.mark.parametrize(
    "missing",
    [
        *STORED,
        *(f"{name}.provenance.json" for name in STORED),
        "report/report.tex.provenance.json",
        "figures/fig1.png",
        "figures/claims.png",
    ],
)
def test_incomplete_results_are_refused_in_a_sentence_and_nothing_is_removed(store, make, tmp_path, missing):
    results = make("fig1")
    assert store("small").returncode == 0
    docs = tmp_path / "docs"
    before = {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()}
    (results / missing).unlink()
    done = store("small")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {results}: expected the results of the scale, found no {missing};")
    assert {file: file.read_bytes() for file in docs.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["small"], "error: {results}: expected the results of the scale, found no"), ([], "required: scale")],
)
def test_without_results_or_a_scale_it_says_what_to_do_and_removes_nothing(store, tmp_path, arguments, words):
    before = tmp_path / "docs" / "results" / "small" / "claims.csv"
    before.parent.mkdir(parents=True)
    before.write_text("verdicts")
    done = store(*arguments)
    assert done.returncode > 0
    assert words.format(results=tmp_path / "results" / "small") in done.stderr
    assert before.read_text() == "verdicts"
