"""The figures edge, shift and norms: their artists, against values computed from raw tables in loops."""

import itertools
import math
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bnopt import plugins, statistics
from bnopt.figures import _drawing

SEEDS, STEPS = (0, 1, 2), (0, 11, 22, 33)
NORMS = ("none", "batch", "l1")
CURVATURES = ("sharpness", "lowest", "gradient_curvature", "hessian_gradient", "trace", "trace_error")
SHIFTS = (
    *("share_before", "gradient_curvature", "relative_difference", "cosine"),
    *("first_order_relative_difference", "first_order_cosine", "log_over_first_order", "log_over_rank_one"),
)
LAYERS = {"vgg": {"#5": 4, "#10": 6}, "deep_linear": {"#9": 9, "#11": 11, "#17": 17}}


@pytest.fixture(autouse=True)
def style():
    with matplotlib.style.context(Path(__file__).parents[2] / "paper" / "figures.mplstyle"):
        yield


def conditions_of(norms, tasks=("vgg", "deep_linear")):
    rates = {"vgg": 0.1, "deep_linear": 1e-6}
    return {
        f"{task}_{norm}": {"task": task, "norm": norm, "lr": rates[task]} for task in tasks for norm in norms
    }


def random_rows(keys, columns, generator):
    """Return a row per combination of keys, with a positive value of its own in every column."""
    rows = [dict(zip(keys, values, strict=True)) for values in itertools.product(*keys.values())]
    for row in rows:
        row |= {column: generator.lognormal(sigma=0.7) for column in columns}
    return rows


def curvature_rows(conditions, generator):
    """Return raw rows of the probe `curvature`: two phases for deep linear nets, one for the others."""
    rows = []
    for name, condition in conditions.items():
        phases = (0, 1) if condition["task"] == "deep_linear" else (0,)
        keys = {"condition": [name], "seed": SEEDS, "step": STEPS, "phase": phases, "lr": [condition["lr"]]}
        of_condition = random_rows(keys, [*CURVATURES, "residual", "alignment"], generator)
        for row in of_condition:
            row |= {column: row[column] * 2 / row["lr"] for column in CURVATURES}
        rows += of_condition
    return rows


def summarised(rows, table):
    """Return the table that the stage `statistics` writes about raw rows."""
    values = statistics.per_seed([pd.DataFrame(rows)], table=table)
    return pd.concat([statistics.over_seeds(values), statistics.over_run(values)], ignore_index=True)


def numbers(rows, column, **keys):
    """Return the values of a column in the raw rows with these keys."""
    return [row[column] for row in rows if all(row[key] == value for key, value in keys.items())]


def t_interval(sample):
    """Return mean, low and high of the 95 % interval."""
    mean, error = math.fsum(sample) / len(sample), stats.sem(sample)
    return (mean, *stats.t.interval(0.95, len(sample) - 1, loc=mean, scale=error))


def geometric(sample):
    return tuple(map(math.exp, t_interval(list(map(math.log, sample)))))


# -- edge -----------------------------------------------------------------------------------------


def edges(rows, column, condition, step):
    """Return the numbers of all seeds: the mean over the phases of column · lr/2."""
    found = []
    for seed in SEEDS:
        at = {"condition": condition, "seed": seed, "step": step}
        of_phases = zip(numbers(rows, column, **at), numbers(rows, "lr", **at), strict=True)
        scaled = [value * lr / 2 for value, lr in of_phases]
        found.append(math.fsum(scaled) / len(scaled))
    return found


def drawn_edge(rows, conditions):
    return plugins.load("figures", "edge").draw(
        {"curvature": summarised(rows, "curvature")}, {}, conditions=conditions
    )


def test_edge_shows_means_over_seeds_and_phases_in_units_of_the_edge():
    conditions = conditions_of(NORMS)
    rows = curvature_rows(conditions, np.random.default_rng(0))
    for row in rows:
        row["gradient_curvature"] *= (-1) ** (row["step"] // 11)  # κ may be negative
    figure = drawn_edge(rows, conditions)
    # Axes come by row: λ_max of both tasks, then κ.
    panels = itertools.product(("sharpness", "gradient_curvature"), ("vgg", "deep_linear"))
    for ax, (column, task) in zip(figure.axes, panels, strict=True):
        of_task = [name for name, c in conditions.items() if c["task"] == task]
        *curves, edge = ax.lines
        assert list(edge.get_ydata()) == [1, 1]
        assert len(curves) == len(ax.collections) == len(of_task)
        for line, band, name in zip(curves, ax.collections, of_task, strict=True):
            assert line.get_color() == _drawing.STYLES[conditions[name]["norm"]]["color"]
            assert line.get_label() == _drawing.label(conditions[name])
            summary = geometric if column == "sharpness" else t_interval
            expected = [summary(edges(rows, column, name, step)) for step in STEPS]
            assert list(line.get_xdata()) == list(STEPS)
            assert list(line.get_ydata()) == pytest.approx([centre for centre, _, _ in expected])
            vertices = band.get_paths()[0].vertices
            for step, (_, low, high) in zip(STEPS, expected, strict=True):
                at_step = vertices[vertices[:, 0] == step, 1]
                assert (at_step.min(), at_step.max()) == pytest.approx((low, high))
            visible = [low <= y <= high for y in line.get_ydata() for low, high in [ax.get_ylim()]]
            assert all(visible)


def test_edge_names_its_panels_and_every_norm_even_if_one_task_has_more():
    conditions = conditions_of(NORMS, tasks=("deep_linear",)) | conditions_of(NORMS[:1], tasks=("vgg",))
    figure = drawn_edge(curvature_rows(conditions, np.random.default_rng(1)), conditions)
    assert [ax.get_title() for ax in figure.axes[:2]] == ["(a) VGG", "(b) Deep linear network"]
    assert [ax.get_ylabel() for ax in figure.axes[::2]] == ["λₘₐₓ · lr/2", "κ · lr/2"]
    # κ may be negative, and the axis is linear up to the edge.
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "symlog", "symlog"]
    assert figure.axes[2].yaxis.get_transform().linthresh == 1
    # Each task has one axis of steps: the lower panel shows it for both.
    for top, below in zip(figure.axes[:2], figure.axes[2:], strict=True):
        assert top.get_shared_x_axes().joined(top, below)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        _drawing.label({"norm": norm}) for norm in NORMS
    ]


def with_own_task(conditions):
    """Return conditions in which the deep linear nets are another task."""
    renamed = {"deep_linear": "my_net"}
    return {name: of | {"task": renamed.get(of["task"], of["task"])} for name, of in conditions.items()}


def titles_and_points(figure):
    return [(ax.get_title(), [line.get_xydata().tolist() for line in ax.lines]) for ax in figure.axes]


def test_edge_draws_a_task_of_ones_own_like_any_other():
    conditions = conditions_of(NORMS)
    rows = curvature_rows(conditions, np.random.default_rng(5))
    known, own = (titles_and_points(drawn_edge(rows, of)) for of in (conditions, with_own_task(conditions)))
    assert own == [(title.replace("Deep linear network", "My net"), lines) for title, lines in known]
    assert own[1][0] == "(b) My net"


# -- shift ----------------------------------------------------------------------------------------


def shift_rows(conditions, generator):
    """Return raw rows of the probe `shift_is_curvature`, two phases each, in a mixed order."""
    rows = []
    for name, condition in conditions.items():
        keys = {
            "condition": [name],
            "seed": SEEDS,
            "step": STEPS,
            "phase": [0, 1],
            "lr": [condition["lr"]],
            "layer": [*LAYERS[condition["task"]], "#1"],  # a layer that the figure does not name
        }
        rows += random_rows(keys, SHIFTS, generator)
    for row in rows:
        row["gradient_curvature"] /= row["lr"]
        row["cosine"] = math.tanh(row["cosine"] - 1)
    return [rows[i] for i in generator.permutation(len(rows))]


def drawn_shift(rows, conditions, layers=LAYERS):
    first = pd.DataFrame([row for row in rows if row["seed"] == SEEDS[0]])
    return plugins.load("figures", "shift").draw(
        {"shift_is_curvature": summarised(rows, "shift_is_curvature")},
        {"shift_is_curvature": first},
        conditions=conditions,
        layers=layers,
    )


def points(line):
    return sorted(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_shift_has_a_point_per_layer_step_and_phase_of_the_first_seed():
    conditions = conditions_of(("none", "batch"))
    rows = shift_rows(conditions, np.random.default_rng(2))
    figure = drawn_shift(rows, conditions)
    axes = {}
    for ax in figure.axes:
        axes.setdefault(ax.get_title(), []).append(ax)
    assert len(axes) == 4
    for name, condition in conditions.items():
        task = {"vgg": "VGG", "deep_linear": "Deep linear network"}[condition["task"]]
        sizes, cosines = axes[f"{task}\n{_drawing.label(condition)}".replace(" + ", "\n+ ")]
        layers = list(LAYERS[condition["task"]])
        of_layers, of_cosines = (
            [line for line in ax.lines if line.get_marker() == "o"] for ax in (sizes, cosines)
        )
        for of_ax in (of_layers, of_cosines):
            assert [line.get_label() for line in of_ax] == layers
        assert len({str(line.get_color()) for line in of_layers}) == len(layers)
        for number, layer in enumerate(layers):
            mine = [r for r in rows if (r["condition"], r["seed"], r["layer"]) == (name, SEEDS[0], layer)]
            assert len(mine) == 2 * len(STEPS)
            expected = [(r["first_order_relative_difference"], r["relative_difference"]) for r in mine]
            assert points(of_layers[number]) == sorted(expected)
            law = [(1 - r["lr"] * r["gradient_curvature"] * r["share_before"], r["cosine"]) for r in mine]
            assert np.array(points(of_cosines[number])) == pytest.approx(np.array(sorted(law)))
        for ax in (sizes, cosines):
            (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
            for line in of_layers if ax is sizes else of_cosines:
                assert all(left < x < right and bottom < y < top for x, y in points(line))


def test_shift_draws_the_line_of_equality_and_the_law_of_rank_one():
    conditions = conditions_of(("none", "batch"))
    figure = drawn_shift(shift_rows(conditions, np.random.default_rng(3)), conditions)
    sizes, cosines = figure.axes[0], figure.axes[2]
    (equality,) = [line for line in sizes.lines if line.get_marker() != "o"]
    assert equality.get_xy1() == (1, 1)
    assert equality.get_xy2() == (10, 10)
    assert sizes.get_xlim() == sizes.get_ylim()
    (left, right), law = cosines.get_xlim(), cosines.collections
    segments = [segment.tolist() for collection in law for segment in collection.get_segments()]
    assert [[left, -1], [0, -1]] in segments
    assert [[0, 1], [right, 1]] in segments
    assert (sizes.get_xscale(), sizes.get_yscale()) == ("log", "log")
    # The law turns at 0; far to the left lie points of steps far beyond the edge.
    assert (cosines.get_xscale(), cosines.xaxis.get_transform().linthresh) == ("symlog", 1)


def test_shift_leaves_out_what_is_not_finite_and_marks_no_panel_of_a_missing_condition():
    conditions = conditions_of(("none", "batch"))
    rows = shift_rows(conditions, np.random.default_rng(4))
    del conditions["vgg_batch"]
    for row in rows:
        if row["step"] == 0:
            row["relative_difference"] = math.inf
    figure = drawn_shift(rows, conditions)
    assert [ax.axison for ax in figure.axes] == [True, False, True, False, True, True, True, True]
    line = figure.axes[0].lines[0]
    finite = [y for y in line.get_ydata() if np.isfinite(y)]
    assert len(finite) == 2 * (len(STEPS) - 1)
    assert max(finite) < figure.axes[0].get_ylim()[1] < math.inf


def test_shift_draws_a_task_of_ones_own_like_any_other():
    conditions = conditions_of(("none", "batch"))
    rows = shift_rows(conditions, np.random.default_rng(6))
    layers = {"vgg": LAYERS["vgg"], "my_net": LAYERS["deep_linear"]}
    known = titles_and_points(drawn_shift(rows, conditions))
    own = titles_and_points(drawn_shift(rows, with_own_task(conditions), layers))
    assert own == [(title.replace("Deep linear network", "My net"), lines) for title, lines in known]
    assert any(title.startswith("My net\n") for title, _ in own)


# -- norms ----------------------------------------------------------------------------------------

MEASURES = ("loss_variation", "predictiveness", "beta", "sharpness")
SIZES = (0.05, 0.1, 0.4)


def training_rows(conditions, generator):
    keys = {"condition": list(conditions), "seed": SEEDS, "step": range(34)}
    rows = random_rows(keys, ["loss"], generator)
    for row in rows:
        row |= {"accuracy": generator.uniform(0.2, 0.9), "test_accuracy": math.nan}
        row |= {"chance": 0.1, "diverged": 0}
    return rows


def landscape_rows(conditions, generator):
    """Return raw rows of the probe `along_gradient`: three step sizes at every step."""
    rows = []
    for name, seed, step in itertools.product(conditions, SEEDS, STEPS):
        gradient_length = generator.lognormal()
        for size in SIZES:
            row = {"condition": name, "seed": seed, "step": step, "lr": 0.1, "eta": size}
            row |= {"loss": generator.lognormal(), "gradient_change": generator.lognormal()}
            rows.append(row | {"gradient_length": gradient_length})
    return rows


def at_step(rows, quantity):
    """Return a quantity at one step from its rows, one per step size."""
    losses, changes = [row["loss"] for row in rows], [row["gradient_change"] for row in rows]
    ratios = [row["gradient_change"] / (row["eta"] * row["gradient_length"]) for row in rows]
    return {"loss_variation": max(losses) - min(losses), "predictiveness": max(changes), "beta": max(ratios)}[
        quantity
    ]


def run_mean(raw, quantity, condition, seed):
    """Return the mean of a measure over the steps of one run."""
    of_run = {"condition": condition, "seed": seed}
    if quantity == "accuracy":
        values = numbers(raw["training"], "accuracy", **of_run)
    elif quantity == "sharpness":
        values = numbers(raw["curvature"], "sharpness", **of_run)
    else:
        of_steps = [
            [
                r
                for r in raw["along_gradient"]
                if (r["condition"], r["seed"], r["step"]) == (condition, seed, s)
            ]
            for s in STEPS
        ]
        values = [at_step(rows, quantity) for rows in of_steps]
    return math.fsum(values) / len(values)


CONDITIONS = conditions_of(("none", "batch", "layer", "dyt", "weight_norm"), tasks=("vgg",))
CONDITIONS["vgg_none_warmup"] = CONDITIONS["vgg_none"] | {"warmup": 0.1}
CONDITIONS["vgg_none_scale2"] = CONDITIONS["vgg_none"] | {"initial_scale": 2}
TEXTS = {
    "vgg_none": "Standard",
    "vgg_batch": "BatchNorm",
    "vgg_layer": "LayerNorm",
    "vgg_dyt": "DyT",
    "vgg_weight_norm": "WeightNorm",
    "vgg_none_warmup": "Standard, warm-up",
    "vgg_none_scale2": "Standard, weights × 2",
}


@pytest.fixture
def raw():
    """Raw tables of all conditions of the figure."""
    generator = np.random.default_rng(5)
    return {
        "training": training_rows(CONDITIONS, generator),
        "along_gradient": landscape_rows(CONDITIONS, generator),
        "curvature": curvature_rows(CONDITIONS, generator),
    }


def drawn_norms(raw):
    over_seeds = {table: summarised(rows, table) for table, rows in raw.items()}
    return plugins.load("figures", "norms").draw(over_seeds, {}, conditions=CONDITIONS)


def marked(ax):
    """Return the points of a panel, in the order in which they were drawn."""
    return [line for line in ax.lines if line.get_marker() != "None"]


def test_norms_shows_accuracy_against_each_measure_both_over_the_run(raw):
    figure = drawn_norms(raw)
    assert [ax.get_title()[:3] for ax in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    for ax, measure in zip(figure.axes, MEASURES, strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
        drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked(ax)]
        texts = {text.get_text(): text.xy for text in ax.texts}
        assert len(drawn) == len(texts) == len(CONDITIONS)
        bars = [line for line in ax.lines if line.get_marker() == "None"]
        for number, name in enumerate(CONDITIONS):
            x, *across = geometric([run_mean(raw, measure, name, seed) for seed in SEEDS])
            y, *along = t_interval([100 * run_mean(raw, "accuracy", name, seed) for seed in SEEDS])
            assert drawn[number] == pytest.approx((x, y))
            assert texts[TEXTS[name]] == pytest.approx((x, y))
            horizontal, vertical = bars[2 * number : 2 * number + 2]
            assert list(horizontal.get_xdata()) == pytest.approx(across)
            assert list(horizontal.get_ydata()) == pytest.approx([y, y])
            assert list(vertical.get_xdata()) == pytest.approx([x, x])
            assert list(vertical.get_ydata()) == pytest.approx(along)
            assert ax.get_xlim()[0] < x < ax.get_xlim()[1]


def test_labels_of_norms_overlap_neither_each_other_nor_points(raw):
    figure = drawn_norms(raw)
    figure.draw_without_rendering()
    for ax in figure.axes:
        boxes = [text.get_bbox_patch().get_window_extent() for text in ax.texts]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)
        centres = [ax.transData.transform((line.get_xdata()[0], line.get_ydata()[0])) for line in marked(ax)]
        for box, (x, y) in itertools.product(boxes, centres):
            assert not box.contains(x, y)


def test_norms_tells_kinds_of_norms_apart_by_colour_and_marker(raw):
    figure = drawn_norms(raw)
    looks = {
        name: (line.get_color(), line.get_marker(), line.get_markerfacecolor())
        for name, line in zip(CONDITIONS, marked(figure.axes[0]), strict=True)
    }
    of_plain = {looks[name] for name in looks if name.startswith("vgg_none")}
    assert len(of_plain) == 1
    assert len(set(looks.values())) == 5
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(plugins.load("figures", "norms").KINDS)


def test_every_norm_but_noise_has_a_kind():
    norms = plugins.load("figures", "norms")
    kinds = [norm for of_kind, _ in norms.KINDS.values() for norm in of_kind]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == set(plugins.names("norms")) - {"noise", "noisy_batch", "noisy_batch_variance"}
    assert norms._kind({"norm": "noise"})[0] == norms.OTHER


def test_norms_names_what_it_does_not_show(raw):
    for row in raw["training"]:
        if row["condition"] == "vgg_layer" and row["step"] > 5:
            row |= {"loss": math.inf, "diverged": 1}
    for row in raw["curvature"]:
        if row["condition"] == "vgg_dyt":
            row["sharpness"] = 0.0
    figure = drawn_norms(raw)
    assert [len(marked(ax)) for ax in figure.axes] == [len(CONDITIONS) - n for n in (1, 1, 1, 2)]
    assert [ax.get_xlabel() for ax in figure.axes] == [
        *["Not shown: LayerNorm"] * 3,
        "Not shown: LayerNorm, DyT",
    ]


def test_a_norm_of_which_one_run_goes_to_the_end_is_shown(raw):
    for row in raw["training"]:
        if row["condition"] == "vgg_layer" and row["step"] > 5 and row["seed"] > 0:
            row |= {"loss": math.inf, "diverged": 1}
    figure = drawn_norms(raw)
    assert [len(marked(ax)) for ax in figure.axes] == [len(CONDITIONS)] * 4


def test_the_stage_and_the_figures_give_means_over_the_run_the_same_names():
    assert _drawing.OVER_RUN == statistics.OVER_RUN
