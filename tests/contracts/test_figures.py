"""The contract of figures: `draw` returns a Figure for the tables of any study, also with failed runs."""

import copy
import inspect
import io
import itertools
import re
from pathlib import Path

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from bnopt import claims, figure, plugins, probe, specifications, statistics
from bnopt.figures import _drawing
from bnopt.files import artefacts
from bnopt.random_layers import random_layers
from bnopt.run import device
from bnopt.run.run import Run, split
from bnopt.study import names, study
from bnopt.train import train

STYLE = Path(__file__).parents[2] / "paper" / "figures.mplstyle"
FIGURES = [name for name in plugins.names("figures") if name not in ("claims", "specification")]
figures = pytest.mark.parametrize("name", FIGURES)
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def small_study(small_config):
    """The small study with all its parts, written out."""
    return study.written_out(small_config | {"parts": "all"})


@pytest.fixture(scope="module")
def needed(small_study):
    """Table -> the conditions of which some figure shows it."""
    found = {}
    for entry in small_study["figures"].values():
        for table, conditions in entry["tables"].items():
            found.setdefault(table, {}).update(dict.fromkeys(conditions))
    return {table: list(conditions) for table, conditions in found.items()}


@pytest.fixture(scope="module")
def measured_tables(small_study, needed, prepared, tmp_path_factory):
    """(table, condition, seed) -> the table of one run of the small study."""
    found = {}
    chosen = device.choose()
    for condition, seed in itertools.product(dict.fromkeys(itertools.chain(*needed.values())), SEEDS):
        folder = tmp_path_factory.mktemp("snapshots")
        of_run, settings = split(study.train_settings(small_study, condition))
        del settings["tf32"]
        run = Run(prepared, **of_run, seed=seed, device=chosen)
        found["training", condition, seed] = train(run, folder=folder, **settings)
        for name in set(needed) & set(plugins.names("probes")):
            if condition in needed[name]:
                of_run, settings = split(study.probe_settings(small_study, condition, name))
                run = Run(prepared, **of_run, seed=seed, device=chosen)
                found[name, condition, seed] = probe.probe(run, folder, **settings)
    for (_, condition, seed), table in found.items():
        table.insert(0, "condition", condition)
        table.insert(1, "seed", seed)
    return found


@pytest.fixture(scope="module")
def small_tables():
    """The tables of figures that do not come from runs."""
    return {study.RANDOM_LAYERS: random_layers(draws=8, seed=0)}


# -- failures of a study ---------------------------------------------------------------------------


def as_measured(tables):
    return tables


def diverged(tables, lost, first):
    """Return tables in which the runs that `lost` selects have no finite loss from step `first` on."""
    found = {}
    for (name, condition, seed), table in tables.items():
        table = table.copy()
        if lost(condition, seed):
            later = table["step"] >= first
            if name == "training":
                table.loc[later, "loss"] = np.inf
                table.loc[later, ["accuracy", "test_accuracy"]] = np.nan
                table.loc[later, "diverged"] = 1
            else:
                table = table[~later]
                if table.empty:  # the stage `probe` writes such a table
                    table = table[["condition", "seed"]]
        found[name, condition, seed] = table
    return found


def plain_nets_diverged_at_once(tables):
    return diverged(tables, lambda condition, seed: "none" in condition, first=1)


def plain_nets_diverged_at_the_first_step(tables):
    return diverged(tables, lambda condition, seed: "none" in condition, first=0)


def all_nets_diverged_at_the_first_step(tables):
    return diverged(tables, lambda condition, seed: True, first=0)


def one_seed_in_which_all_nets_diverged(tables):
    of_one_seed = {key: table for key, table in tables.items() if key[2] == SEEDS[0]}
    return diverged(of_one_seed, lambda condition, seed: True, first=5)


def values_not_finite(tables):
    """Return tables with infinities at the last probed step, or at all in plain nets, and constant units."""
    found = {}
    for key, table in tables.items():
        table = table.copy()
        last = table["step"] == table["step"].max()
        if key[0] == "activations":
            bins = [column for column in table if column.startswith("bin_")]
            table.loc[last, ["mean_next", "variance_next", "low", "high"]] = [np.inf, np.nan, -np.inf, np.inf]
            table.loc[last, bins] = 0
            still = table["unit"] == table["unit"].min()
            table.loc[still, ["mean", "variance", "low", "high", *bins]] = 0
        elif key[0] != "training":
            numbers = table.select_dtypes("number").columns.difference(["seed", "step", "eta", "lr"])
            table[numbers] = table[numbers].astype(float)
            table.loc[last | ("none" in key[1]), numbers] = np.inf
            table.loc[table["step"] == 4, numbers[:1]] = np.nan
        found[key] = table
    return found


def no_value_finite(tables, value=np.inf):
    """Return tables in which every number is a value that cannot be drawn."""
    found = {}
    for key, table in tables.items():
        numbers = table.select_dtypes("number").columns.difference(["seed", "step", "unit", "eta", "lr"])
        found[key] = table.assign(**dict.fromkeys(numbers, value))
    return found


def no_value_at_all(tables):
    return no_value_finite(tables, np.nan)


STUDIES = [
    as_measured,
    plain_nets_diverged_at_once,
    plain_nets_diverged_at_the_first_step,
    all_nets_diverged_at_the_first_step,
    one_seed_in_which_all_nets_diverged,
    values_not_finite,
    no_value_finite,
    no_value_at_all,
]


# Rendering them takes half of the time and meets nothing that rendering the others does not.
LIKE_OTHERS = (plain_nets_diverged_at_the_first_step, one_seed_in_which_all_nets_diverged)


def through_a_file(table, folder):
    artefacts.write_table(table, folder / "table.csv")
    return artefacts.read_table(folder / "table.csv")


@pytest.fixture(scope="module", params=STUDIES, ids=lambda change: change.__name__)
def statistics_of(request, needed, measured_tables, small_tables, tmp_path_factory):
    """Function: the tables of a figure -> (over seeds, of the first seed, curves), read back from files."""
    folder = tmp_path_factory.mktemp("tables")
    tables = request.param(measured_tables)
    over_seeds = {}
    for name, conditions in needed.items():
        if conditions:
            runs = [table for key, table in tables.items() if key[0] == name]
            values = statistics.per_seed(runs, table=name)
            table = pd.concat([statistics.over_seeds(values), statistics.over_run(values)])
        else:  # a table that does not come from runs
            table = small_tables[name]
        over_seeds[name] = through_a_file(table, folder)

    def of_first_seed(name, conditions):
        return pd.concat([through_a_file(tables[name, c, SEEDS[0]], folder) for c in conditions])

    def statistics_of(shown):
        conditions = {condition for of in shown.values() for condition in of}
        return (
            {name: over_seeds[name] for name in shown},
            {name: of_first_seed(name, of) for name, of in shown.items() if of},
            pd.concat([of for (name, c, _), of in tables.items() if name == "training" and c in conditions]),
        )

    return statistics_of


@pytest.fixture(autouse=True)
def style():
    with matplotlib.style.context(STYLE):
        yield


def check(drawn, *, layout, rendered=True):
    """Check that a figure is rendered with finite limits, and with tick labels that stand apart."""
    assert isinstance(drawn, Figure)
    if not layout:  # the layout takes longer than everything else
        drawn.set_layout_engine("none")
    if rendered:
        drawn.draw_without_rendering()
    assert drawn.axes
    for ax in drawn.axes:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
        assert not layout or stand_apart(ax)


def stand_apart(ax):
    """Return whether no two labels on the horizontal axis of a panel cover each other."""
    low, high = sorted(ax.get_xlim())
    ticks = [tick for tick in ax.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [tick.label1.get_window_extent() for tick in ticks if tick.label1.get_visible()]
    boxes = sorted((box for box in boxes if box.width), key=lambda box: box.x0)
    return all(one.x1 < another.x0 for one, another in itertools.pairwise(boxes))


# -- the figures ------------------------------------------------------------------------------------


@figures
def test_the_configuration_gives_a_figure_exactly_its_keyword_arguments(config, name):
    assert name in config["figures"]
    signature = inspect.signature(plugins.load("figures", name).draw)
    positional = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
    assert positional == ["over_seeds", "first_seed"]
    for scale in config["scales"]:
        whole = study.written_out(config | {"scale": scale, "parts": "all"})
        if name in whole["figures"]:
            assert set(study.figure_settings(whole, name)) - {"tables", "seeds"} == keywords


@figures
def test_a_figure_is_drawn_whatever_became_of_the_runs(small_study, request, statistics_of, name):
    settings = study.figure_settings(small_study, name)
    *tables, curves = statistics_of(settings.pop("tables"))
    del settings["seeds"]
    before = [{key: table.copy() for key, table in part.items()} for part in tables]
    drawn = plugins.load("figures", name).draw(*tables, **settings)
    figure.note_divergence(drawn, curves, settings["conditions"])
    change = request.node.callspec.params["statistics_of"]
    check(drawn, layout=change is as_measured, rendered=change not in LIKE_OTHERS)
    for part, untouched in zip(tables, before, strict=True):
        for key in part:
            pd.testing.assert_frame_equal(part[key], untouched[key])

    words = " ".join(text.get_text() for text in drawn.findobj(Text)).replace("\n", " ")
    for condition in settings["conditions"].values():
        assert _drawing.label(condition) in words or _drawing.short_label(condition) in words
    lost = set(curves.loc[curves["diverged"] == 1, "condition"])
    assert ("Diverged" in words) == bool(lost)
    for condition, entry in settings["conditions"].items():
        assert (f"{names.run(entry)} (" in words) == (condition in lost)


@pytest.mark.parametrize("statistics_of", [as_measured], indirect=True)
@figures
def test_a_figure_takes_more_rates_and_layers(small_study, statistics_of, name):
    settings = copy.deepcopy(study.figure_settings(small_study, name))
    *tables, _ = statistics_of(settings.pop("tables"))
    del settings["seeds"]
    for number, condition in enumerate(settings["conditions"].values(), start=1):
        condition["lr"] *= number
    for of_task in settings.get("layers", {}).values():
        of_task["#7"] = 2
    check(plugins.load("figures", name).draw(*tables, **settings), layout=False)


@pytest.mark.parametrize("kind", ["pdf", "png"])
def test_two_drawings_of_the_same_numbers_are_the_same_bytes(small_study, measured_tables, kind):
    """Figure 2 has both curves with bands and ridges."""
    settings = study.figure_settings(small_study, "fig2")
    shown = settings.pop("tables")
    del settings["seeds"]
    drawn = []
    for _ in range(2):
        over_seeds = {
            table: statistics.over_seeds(
                statistics.per_seed(
                    [of_run for key, of_run in measured_tables.items() if key[0] == table], table=table
                )
            )
            for table in shown
        }
        first_seed = {
            table: pd.concat([measured_tables[table, c, SEEDS[0]] for c in of]) for table, of in shown.items()
        }
        found = plugins.load("figures", "fig2").draw(over_seeds, first_seed, **settings)
        file = io.BytesIO()
        metadata = {"CreationDate": None} if kind == "pdf" else {}
        found.savefig(file, format=kind, dpi=60, metadata=metadata)
        drawn.append(file.getvalue())
    assert drawn[0] == drawn[1]


# -- the claims -------------------------------------------------------------------------------------

INF, NAN = np.inf, np.nan
FATES = {
    # compare, expected, margin, effect, ci_low, ci_high, verdict, flips_under
    "clear": ("difference", "greater", 0.0, 0.4, 0.3, 0.5, "supported", ""),
    "flipped": ("log_ratio", "less", 0.0, -2.0, -2.5, -1.5, "supported", "median;equal_loss"),
    "other_way": ("difference", "equivalent", 0.05, 0.3, 0.2, 0.4, "contradicted", ""),
    "open": ("log_ratio", "not_less", np.log(2), 0.1, -1.0, 1.2, "inconclusive", ""),
    "unbounded": ("log_ratio", "not_greater", np.log(3), 2.0, -INF, INF, "inconclusive", "finite_only"),
    "decided": ("log_ratio", "less", 0.0, -INF, -INF, -INF, "supported", ""),
    "missing": ("log_ratio", "less", 0.0, NAN, NAN, NAN, "not run", ""),
    "missing_too": ("difference", "less", 0.0, NAN, NAN, NAN, "not run", ""),
}


def claims_table(names, tmp_path):
    """Return a table of claims of one family, read back from a file."""
    columns = ["compare", "expected", "margin", "effect", "ci_low", "ci_high", "verdict", "flips_under"]
    rows = [
        {"claim": name, "label": f"It is {name}", **dict(zip(columns, FATES[name], strict=True))}
        for name in names
    ]
    table = pd.DataFrame(rows).reindex(columns=claims.COLUMNS)
    table["source"], table["family"] = "Figure 1", "fig1"
    return through_a_file(table, tmp_path)


def drawn_claims(table):
    """Return the only page of the forest plot of a table of claims."""
    units = {name: "ratio" if fate[0] == "log_ratio" else "difference" for name, fate in FATES.items()}
    (page,) = plugins.load("figures", "claims").draw({"claims": table}, {}, units=units)
    return page


@pytest.mark.parametrize(
    "names", [list(FATES), ["clear"], ["flipped"], ["decided"], ["missing"], ["missing", "missing_too"]]
)
def test_claims_are_drawn_whatever_their_verdicts(tmp_path, names):
    table = claims_table(names, tmp_path)
    before = table.copy()
    plot = drawn_claims(table)
    plot.draw_without_rendering()
    pd.testing.assert_frame_equal(table, before)
    words = [text.get_text() for text in plot.findobj(Text)]
    for name in names:
        *_, verdict, flips = FATES[name]
        assert f"It is {name}" in words
        assert (f"{verdict} *" if flips else verdict) in words


@pytest.mark.filterwarnings("ignore:Glyph")  # the fonts lack some letters: a box is drawn
def test_labels_may_have_any_letters_and_dollar_signs_are_no_formulas(tmp_path):
    table = claims_table(["clear", "open"], tmp_path)
    label = r"50 $ of $x_{ 画像 ≤ \alpha"
    plot = drawn_claims(table.assign(label=label))
    figure.save([plot], tmp_path / "a.pdf", tmp_path / "a.png")
    assert [text.get_text() for ax in plot.axes for text in ax.texts].count(label) == 2


def test_intervals_of_claims_without_bounds_run_to_the_edges_of_the_panel(tmp_path):
    names = ["flipped", "unbounded", "decided"]
    (ax,) = drawn_claims(claims_table(names, tmp_path)).axes
    left, right = ax.get_xlim()
    heights = [text.xy[1] for text in ax.texts[:-1:2]]
    reach = {}
    for line in ax.lines:
        x, y = np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata())
        if len(set(y)) == 1:
            reach.setdefault(heights.index(y[0]), []).extend(map(float, x))
    assert np.isfinite([value for values in reach.values() for value in values]).all()
    assert left < min(reach[0])
    assert min(reach[1]) == left < right == max(reach[1])
    assert set(reach[2]) == {left}


def test_each_family_has_axes_of_its_own_and_a_far_bound_does_not_set_them(tmp_path):
    table = claims_table(["clear", "flipped", "open"], tmp_path)
    table.loc[table["claim"] == "open", ["family", "ci_high"]] = "fig2", 1e3
    plot = drawn_claims(table)
    assert [ax.texts[0].get_text() for ax in plot.axes] == ["It is clear", "It is flipped", "It is open"]
    limits = [np.log(ax.get_xlim()) for ax in plot.axes[1:]]
    # A quarter of the range beyond 0, the effects exp(-2) and exp(0.1), and a factor of 1/2.
    low = -np.log(2)
    assert [tuple(limit) for limit in limits] == [
        pytest.approx((-2.5, 0.5)),
        pytest.approx((low - (0.1 - low) / 4, 0.1 + (0.1 - low) / 4)),
    ]


def test_pages_are_pages_of_the_pdf_and_stand_below_each_other_in_the_image(tmp_path):
    table = claims_table(["clear"], tmp_path)
    table = pd.concat([table.assign(claim=f"c{i}", family=f"fig{i}") for i in range(30)])
    units = dict.fromkeys(table["claim"], "difference")
    pages = plugins.load("figures", "claims").draw({"claims": table}, {}, units=units)
    assert len(pages) == 3
    with matplotlib.style.context(STYLE):
        figure.save(pages, tmp_path / "a.pdf", tmp_path / "a.png")
    assert len(re.findall(rb"/Type /Page\b", (tmp_path / "a.pdf").read_bytes())) == 3
    with Image.open(tmp_path / "a.png") as image:
        dpi = 200
        heights = [round(page.get_size_inches()[1] * dpi) for page in pages]
        assert image.size == (pytest.approx(6.85 * dpi, abs=1), pytest.approx(sum(heights), abs=3))
        # The legend of the second page begins where the first page ends.
        grey = np.asarray(image.convert("L"))
    dark = [grey[top : top + 60].min() < 100 for top in np.cumsum([0, *heights[:-1]])]
    assert dark == [True] * 3


# -- the specification curves -------------------------------------------------------------------------

CURVES = {
    # effect, ci_low, ci_high, verdict of each specification, the registered one first
    "clear": [(0.3, 0.1, 0.5, "supported"), (-0.2, -0.3, -0.1, "contradicted"), (0.1, -1, 1, "inconclusive")],
    "diverged": [
        (INF, INF, INF, "supported"),
        (-INF, -INF, INF, "inconclusive"),
        (0.5, 0.4, 0.6, "supported"),
    ],
    "partly_run": [(NAN, NAN, NAN, "not run"), (0.5, 0.4, 0.6, "supported"), (0.2, 0.1, 0.3, "supported")],
    "all_diverged": [(INF, INF, INF, "supported")] * 3,
    "alike": [(0.0, 0.0, 0.0, "inconclusive")] * 3,
    "not_run": [(NAN, NAN, NAN, "not run")] * 3,
}


def specifications_table(tmp_path, *, compare="difference", margin=0.0):
    """Return the table of specifications of all CURVES, read back from a file."""
    choices = [("mean", "all", "all", "mean/until_converged/all"), ("median", "all", "lr", "")]
    choices += [("median", "first_half", "lr", "")]
    rows = [
        {
            "claim": name, "label": f"$ of {name}", "source": "Figure 4", "compare": compare,
            "expected": "greater", "margin": margin, "registered": int(number == 0), "n": 3,
            **dict(zip(("summary", "steps", "grid", "coincides"), choices[number], strict=True)),
            **dict(zip(("effect", "ci_low", "ci_high", "verdict"), result, strict=True)),
        }
        for name, results in CURVES.items()
        for number, result in enumerate(results)
    ]  # fmt: skip
    return through_a_file(pd.DataFrame(rows, columns=specifications.COLUMNS), tmp_path)


def drawn_curve(table, name):
    unit = "ratio" if (table["compare"] == "log_ratio").all() else "difference"
    return plugins.load("figures", "specification").draw({"specifications": table}, {}, claim=name, unit=unit)


@pytest.mark.parametrize("compare", ["difference", "log_ratio"])
@pytest.mark.parametrize("name", CURVES)
def test_a_curve_is_drawn_whatever_its_verdicts(tmp_path, name, compare):
    table = specifications_table(tmp_path, compare=compare, margin=0.1)
    before = table.copy()
    plot = drawn_curve(table, name)
    check(plot, layout=True)
    pd.testing.assert_frame_equal(table, before)
    verdicts = [verdict for *_, verdict in CURVES[name]]
    judged = len(verdicts) - verdicts.count("not run")
    title = f"$ of {name} · Figure 4\nSupported in {verdicts.count('supported')} of {judged}"
    missing = f" ({3 - judged} not run)" if judged < 3 else ""
    assert plot.axes[0].get_title(loc="left") == title + missing


@pytest.mark.parametrize("name", ["clear", "partly_run"])
def test_a_curve_has_its_effects_in_order_above_their_choices(tmp_path, name):
    plot = drawn_curve(specifications_table(tmp_path, compare="log_ratio"), name)
    results = sorted((result, n) for n, result in enumerate(CURVES[name]) if result[-1] != "not run")
    above, *below = plot.axes
    drawn = [
        line for line in above.lines if line.get_transform() is above.transData and len(line.get_xdata())
    ]
    points = sorted(
        (line.get_xdata()[0], np.log(line.get_ydata()[0])) for line in drawn if len(line.get_xdata()) == 1
    )
    bars = sorted(
        (*line.get_xdata(), *np.log(line.get_ydata())) for line in drawn if len(line.get_xdata()) == 2
    )
    assert np.allclose(points, [(x, effect) for x, ((effect, *_), _) in enumerate(results)])
    low, high = np.log(above.get_ylim())
    expected = [(x, x, *np.clip([a, b], low, high)) for x, ((_, a, b, _), _) in enumerate(results)]
    assert np.allclose(bars, expected)
    rings = [line.get_xdata()[0] for line in drawn if line.get_markeredgecolor() == "black"]
    assert rings == [x for x, (_, number) in enumerate(results) if number == 0]

    chosen = {"mean": {0}, "median": {1, 2}, "all steps": {0, 1}, "until either converges": set()}
    chosen |= {"first half": {2}, "all step sizes": {0}, "lr alone": {1, 2}}
    hollow = {"until either converges": {0}}
    shown = {number: x for x, (_, number) in enumerate(results)}
    found = {}
    for ax in below:
        for value, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
            lines = [line for line in ax.lines if line.get_ydata()[0] == value]
            for full in (True, False):
                of_kind = [line for line in lines if (line.get_markerfacecolor() != "none") == full]
                found[label.get_text(), full] = {line.get_xdata()[0] for line in of_kind}
    for (label, full), columns in found.items():
        numbers = chosen[label] if full else hollow.get(label, set())
        assert columns == {shown[number] for number in numbers & set(shown)}
    # A choice with a single value is no choice.
    assert {label for label, _ in found} == (set(chosen) if name == "clear" else {"all steps", "first half"})


@pytest.mark.parametrize("scale", ["cifar10-small", "deep-linear"])
def test_labels_and_verdicts_of_the_study_fit_beside_the_panels(config, tmp_path, scale):
    whole = study.written_out(config | {"scale": scale, "parts": "all"})
    rows = [
        claim | {"claim": name, "compare": whole["quantities"][claim["quantity"]]["compare"]}
        for name, claim in whole["claims"].items()
    ]
    table = pd.DataFrame(rows).reindex(columns=claims.COLUMNS)
    table["effect"], table["ci_low"], table["ci_high"], table["n_diverged"] = 0.5, -1.0, 2.0, 10
    table["verdict"], table["flips_under"] = "contradicted", "median"
    table = through_a_file(table, tmp_path)
    units = study.units(whole)
    pages = plugins.load("figures", "claims").draw({"claims": table}, {}, units=units)
    shown = []
    for page in pages:
        FigureCanvasAgg(page).draw()
        for ax in page.axes:
            *rows, _ = ax.texts
            shown += rows[::2]
            texts = [[text.get_window_extent() for text in rows[first::2]] for first in (0, 1)]
            for column in texts:
                assert all(page.bbox.x0 <= text.x0 and text.x1 <= page.bbox.x1 for text in column)
                assert all(lower.y1 <= upper.y0 + 1 for upper, lower in itertools.pairwise(column))
            assert max(label.x1 for label in texts[0]) < ax.bbox.x0
            assert min(verdict.x0 for verdict in texts[1]) > ax.bbox.x1
            # Panels stay wide enough to read effects.
            assert ax.bbox.width > 1.5 * page.dpi
    assert len(shown) == len(whole["claims"])
