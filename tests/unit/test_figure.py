"""The note on diverged runs above a figure."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bnopt import figure as stage
from bnopt.figures import _drawing

INF, NAN = math.inf, math.nan
# Norms without a name of their own.
CONDITIONS = {name: {"task": "vgg", "norm": f"{name}_norm", "lr": 0.1} for name in "abc"}


def curves_of(first_lost, steps=4):
    """Return training tables from (condition, seed) -> the first diverged step."""
    return pd.DataFrame(
        [
            {"condition": condition, "seed": seed, "step": step, "diverged": int(step >= first)}
            for (condition, seed), first in first_lost.items()
            for step in range(steps)
        ]
    )


def test_the_note_names_the_diverged_runs_and_empty_panels_are_marked():
    figure = Figure()
    full, empty = figure.subplots(1, 2)
    full.plot([0, 1], [0, 1])
    empty.plot([0, 1], [NAN, INF])
    empty.axhline(1)
    lost = {("a", 0): 2, ("a", 1): 1, ("a", 2): 9, ("b", 0): 9, ("c", 0): 3}
    stage.note_divergence(figure, curves_of(lost), CONDITIONS)
    assert (
        figure.get_suptitle().replace("\n", " ")
        == "Diverged: VGG, a norm, rate 0.1 (2 of 3 runs, seed 0, 1, from step 1); "
        "VGG, c norm, rate 0.1 (1 of 1 runs, from step 3)"
    )
    assert [[text.get_text() for text in ax.texts] for ax in (full, empty)] == [[], [stage.NOTHING]]


def test_a_figure_is_laid_out_once_and_has_the_same_layout_in_both_formats(tmp_path, monkeypatch):
    figure = Figure(layout="constrained")
    for ax in figure.subplots(1, 2):
        ax.set(title="A title", ylabel="A label", xlabel="Steps")
    solved, pages = [], []
    execute, draw = ConstrainedLayoutEngine.execute, Figure.draw
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *of: (solved.append(1), execute(*of))[1])
    monkeypatch.setattr(Figure, "draw", lambda *of: (draw(*of), pages.append(bounds(figure)))[0])
    plain = bounds(figure)
    stage.save([figure], tmp_path / "a.pdf", tmp_path / "a.png")
    assert len(solved) == 1
    assert pages == [pages[0]] * len(pages) != [plain] * len(pages)
    assert [(tmp_path / name).read_bytes()[1:4] for name in ("a.pdf", "a.png")] == [b"PDF", b"PNG"]


def bounds(figure):
    return [ax.get_position().bounds for ax in figure.axes]


def test_a_colour_bar_is_no_empty_panel():
    figure = Figure()
    image = figure.subplots().imshow(np.eye(2))
    bar = figure.colorbar(image).ax
    stage.note_divergence(figure, curves_of({("a", 0): 2}), CONDITIONS)
    assert not bar.texts


def test_the_note_explains_crosses_where_there_are_any():
    figure = Figure()
    figure.subplots().plot([0], [0], marker=stage.DIVERGED)
    stage.note_divergence(figure, curves_of({("a", 0): 2}), CONDITIONS)
    assert figure.get_suptitle() == "× Diverged: VGG, a norm, rate 0.1 (1 of 1 runs, from step 2)"


def test_the_note_recognises_the_crosses_of_curves():
    figure = Figure()
    numbers = {"n": 1, "ci_low": 1.0, "ci_high": 1.0, "condition": "a", "layer": ""}
    rows = [
        {"step": step, "quantity": quantity, "mean": mean} | numbers
        for step, diverged in ((0, 0.0), (1, 1.0))
        for quantity, mean in (("loss", 1.0), ("diverged", diverged))
    ]
    _drawing.curve(figure.subplots(), pd.DataFrame(rows), "a", "loss", color="black")
    stage.note_divergence(figure, curves_of({("a", 0): 1}), CONDITIONS)
    assert figure.get_suptitle().startswith("×")


def test_a_dollar_sign_in_the_note_is_no_formula(tmp_path):
    figure = Figure()
    figure.subplots()
    conditions = {name: CONDITIONS["a"] | {"norm": name} for name in ("a$x_{", "b$")}
    stage.note_divergence(figure, curves_of(dict.fromkeys(((name, 0) for name in conditions), 1)), conditions)
    stage.save([figure], tmp_path / "a.pdf", tmp_path / "a.png")


def test_a_long_note_is_wrapped_to_the_width_of_the_figure():
    figure = Figure(figsize=(5, 3))
    conditions = {f"condition_{i}": CONDITIONS["a"] for i in range(6)}
    stage.note_divergence(figure, curves_of({(name, 0): 1 for name in conditions}), conditions)
    lines = figure.get_suptitle().split("\n")
    assert len(lines) > 1
    assert max(map(len, lines)) <= 5 * stage.CHARACTERS_PER_INCH
    assert " ".join(lines).count("1 of 1 runs, from step 1") == 6


@pytest.mark.parametrize("first", [4, 9])
def test_a_figure_without_a_diverged_run_has_no_note(first):
    figure = Figure()
    ax = figure.subplots()
    stage.note_divergence(figure, curves_of({("a", 0): first}), CONDITIONS)
    assert figure.get_suptitle() == ""
    assert not ax.texts
