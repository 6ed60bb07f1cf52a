"""The theorems on trained nets: against full Hessians of whole nets; and the probe has no side effects."""

import copy
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch.autograd.functional import hessian, jacobian
from torch.nn import functional

from bnopt import plugins, random_layers, statistics, theory, verdicts
from bnopt.probes import activations, theorems
from bnopt.quantities import theorems as quantities
from bnopt.run import snapshots
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.train import train

CPU = torch.device("cpu")
# The small vgg net has two convolutions of 4 units, a pool, two convolutions of 6, and 8 hidden units.
SETTINGS = {"layers": {"#2": 2, "#3": 3, "#13": 5}, "units": 2, "every": 1, "samples": 6}
LINEAR = {"task": "deep_linear", "net": {"depth": 4}, "batch_size": 40}
LINEAR_SETTINGS = {"layers": {"#1": 1, "#3": 3}, "units": 3, "every": 1, "samples": 40}
STEP = 8


@pytest.fixture(scope="module")
def linear_point(tmp_path_factory):
    """Function: norm -> the point at step 20 of a short run of the deep linear net."""

    def linear_point(norm):
        folder = tmp_path_factory.mktemp("snapshots")
        run = Run(None, **LINEAR, norm=norm, seed=0, device=CPU)
        train(run, lr=1e-4, steps=21, test_every=10, snapshot_every=20, folder=folder)
        run = Run(None, **LINEAR, norm=norm, seed=0, device=CPU)
        return Point(run, snapshots.read(folder, 20, "cpu"), step=20, lr=1e-4)

    return linear_point


@pytest.fixture(scope="module")
def measured(point_of, linear_point):
    """Function: task, norm -> point, settings and rows."""
    known = {}

    def measured(task, norm):
        if (task, norm) not in known:
            vgg = task == "vgg"
            point = point_of(norm, STEP) if vgg else linear_point(norm)
            settings = SETTINGS if vgg else LINEAR_SETTINGS
            known[task, norm] = point, settings, theorems.measure(point, **settings)
        return known[task, norm]

    return measured


BOTH = [(task, norm) for task in ("vgg", "deep_linear") for norm in ("none", "batch")]


# -- a slow second implementation -----------------------------------------------------------------


class Slow:
    """Functions of one unit, from the whole net with a hook that replaces the values of that unit."""

    def __init__(self, point, settings, layer, unit, eps=0.0):
        self.point, self.samples, self.unit, self.eps = point, settings["samples"], unit, eps
        self.model = copy.deepcopy(point.run.model)
        self.model.load_state_dict(dict(zip(point.names, point.parameters, strict=True)) | point.buffers)
        self.model.double()
        self.layer = self.model.get_submodule(str(settings["layers"][layer]))
        seen = {}
        hook = self.layer.linear.register_forward_hook(
            lambda _, inputs, output: seen.update(inputs=inputs[0].detach(), outputs=output.detach())
        )
        self.forward()
        hook.remove()
        self.inputs, self.y = seen["inputs"], seen["outputs"][:, unit].flatten()
        self.sigma = self.y.std(correction=0)
        self.has_norm = hasattr(self.layer.norm, "running_var")
        if self.has_norm:
            self.gamma = self.layer.norm.weight[unit].detach()
            self.beta = self.layer.norm.bias[unit].detach()
        else:
            self.gamma, self.beta = (self.sigma**2 + eps).sqrt(), self.y.mean()
        self.z = self.normalise(self.y)
        self.g, self.d = jacobian(self.loss_of_z, self.z), jacobian(self.loss_of_y, self.y)
        self.H, self.A = hessian(self.loss_of_z, self.z), hessian(self.loss_of_y, self.y)

    def forward(self):
        inputs, targets = self.point.run.batch(self.point.step)
        outputs = self.model(inputs[: self.samples].double())
        targets = targets[: self.samples]
        if outputs.shape == targets.shape:
            return ((outputs - targets) ** 2).sum()
        return functional.cross_entropy(outputs, targets)

    def normalise(self, y):
        centred = y - y.mean()
        return self.gamma * centred / ((centred**2).mean() + self.eps).sqrt() + self.beta

    def loss_of_z(self, z):
        def replace(_module, _inputs, output):
            others = torch.arange(output.shape[1]) != self.unit
            mask = others.view(1, -1, *[1] * (output.dim() - 2))
            return torch.where(mask, output, z.view(output[:, :1].shape).expand_as(output))

        # The hook inserts z after BN or, in a layer without BN, after the linear map.
        hook = (self.layer.norm if self.has_norm else self.layer.linear).register_forward_hook(replace)
        loss = self.forward()
        hook.remove()
        return loss

    def loss_of_y(self, y):
        return self.loss_of_z(self.normalise(y))

    def spectral_norm(self):
        if self.inputs.dim() == 2:
            return np.linalg.norm(self.inputs.numpy(), 2)
        padded = functional.pad(self.inputs, (1, 1, 1, 1)).numpy()
        height, width = self.inputs.shape[2:]
        rows = [
            image[:, i : i + 3, j : j + 3].ravel()
            for image in padded
            for i in range(height)
            for j in range(width)
        ]
        return np.linalg.norm(np.array(rows), 2)


def expected(slow):
    """Return columns at ε = 0, computed with full matrices by the formulas of the paper."""
    m, g, d = len(slow.y), slow.g, slow.d
    hat = (slow.y - slow.y.mean()) / slow.sigma
    gain = slow.gamma.item() ** 2 / slow.sigma.item() ** 2
    dHd, gHg = (d @ slow.H @ d).item(), (g @ slow.H @ g).item()
    lowest, highest = torch.linalg.eigvalsh((slow.H + slow.H.T) / 2)[[0, -1]].tolist()
    size, correlation, bound = (g @ g).item(), (g @ hat).item(), slow.spectral_norm()
    curvature = (d @ slow.A @ d).item()
    second = gain * (gHg - correlation * (d @ d).item() / (m * slow.gamma.item()))
    worst = bound**2 * (d @ d).item()
    printed = gain * (bound**2 * size - m * g.mean().item() ** 2 - bound**2 * correlation**2)
    return {
        "values": m,
        "gamma": slow.gamma.item(),
        "sigma": slow.sigma.item(),
        "spectral_norm": bound,
        "thm4.1_mean_share": g.sum().item() ** 2 / m / size,
        "thm4.1_correlation_share": correlation**2 / m / size,
        "thm4.2_bound_slack": (second - curvature) / (abs(second) + abs(curvature)),
        "thm4.2_premise": float(dHd <= gHg),
        "thm4.2_projected_premise": float(dHd <= gain * gHg),
        "thm4.2_positive_correlation": float(correlation >= 0),
        "thm4.2_positive_form": float(gHg >= -1e-12 * size),
        "thm4.4_printed_slack": printed / worst - 1,
        "thm4.2_min_eigenvalue": lowest,
        "thm4.2_max_eigenvalue": highest,
        "thm4.2_semidefinite": float(lowest >= -1e-10 * highest),
    }


@pytest.mark.parametrize(("task", "norm"), BOTH)
def test_the_probe_agrees_with_full_matrices_of_the_whole_net(measured, task, norm):
    point, settings, rows = measured(task, norm)
    for row in rows[:: 3 if task == "vgg" else 4]:
        slow = Slow(point, settings, row["layer"], row["unit"])
        for name, value in expected(slow).items():
            if name.endswith("eigenvalue"):  # there are fewer Lanczos steps than values
                scale = abs(expected(slow)["thm4.2_max_eigenvalue"])
                assert row[name] == pytest.approx(value, abs=1e-3 * scale), name
            else:
                assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


@pytest.mark.parametrize(("task", "norm"), BOTH)
def test_at_the_eps_in_use_4_1_is_slack_and_4_2_bends_as_full_matrices_say(measured, task, norm):
    point, settings, rows = measured(task, norm)
    row = rows[-1]
    slow = Slow(point, settings, row["layer"], row["unit"], eps=1e-5)
    m, g, d = len(slow.y), slow.g, slow.d
    variance = slow.sigma.item() ** 2 + 1e-5
    correlation, gain = (g @ (slow.y - slow.y.mean())).item() / math.sqrt(variance), slow.gamma.item() ** 2
    bound = gain / variance * ((g @ g).item() - g.sum().item() ** 2 / m - correlation**2 / m)
    size = (d @ d).item()
    assert row["thm4.1_slack_eps"] == pytest.approx((bound - size) / (bound + size), rel=1e-4, abs=1e-13)
    assert row["thm4.1_slack_eps"] > -1e-14
    first = gain / variance * (d @ slow.H @ d).item()
    first -= slow.gamma.item() / (m * variance) * correlation * size
    curvature = (d @ slow.A @ d).item()
    slack = (first - curvature) / (abs(first) + abs(curvature))
    assert row["thm4.2_slack_eps"] == pytest.approx(slack, rel=1e-3, abs=1e-11)


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch", "noise", "l1", "linf"])
def test_every_identity_holds_on_trained_nets_of_every_norm(measured, norm):
    tasks = ["vgg", "deep_linear"] if norm in ("none", "batch") else ["vgg"]
    for task in tasks:
        _, settings, rows = measured(task, norm)
        table = pd.DataFrame(rows)
        # Noise leaves one unit dead.
        assert len(table) == len(settings["layers"]) * settings["units"] - (norm == "noise")
        assert not table.isna().any(axis=None)
        for error in ("thm4.1", "thm4.2", "thm4.4", "thmC.1", "obs4.3"):
            assert table[f"{error}_error"].max() < 1e-9
        assert (table["thm4.1_slack_eps"] > -1e-13).all()
        assert table["obs4.3_error_eps"].max() < 1e-13
        assert (table["thm4.2_slack_eps"].abs() > 1e-12).any()


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_a_plain_piecewise_linear_net_has_a_semidefinite_hessian_and_its_own_gradient(measured, task):
    point, settings, rows = measured(task, "none")
    assert all(row["thm4.2_semidefinite"] == 1 for row in rows)
    assert all(row["gamma"] == row["sigma"] for row in rows)
    # g is the gradient of the unchanged net in the outputs of the layer, from the backward pass of training.
    row = rows[-1]
    slow = Slow(point, settings, row["layer"], row["unit"])
    outputs = []

    def retain(_module, _inputs, output):
        output.retain_grad()
        outputs.append(output)

    slow.layer.linear.register_forward_hook(retain)
    slow.forward().backward()
    gradient = outputs[0].grad[:, row["unit"]].flatten()
    torch.testing.assert_close(slow.g, gradient, rtol=1e-9, atol=1e-14)
    share = gradient.sum().item() ** 2 / len(gradient) / gradient.square().sum().item()
    assert row["thm4.1_mean_share"] == pytest.approx(share, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("norm", ["none", "noise", "linf"])
def test_a_layer_without_bn_is_given_one_that_changes_no_value_at_any_eps(point_of, monkeypatch, norm):
    given = []
    evaluate = theory.evaluate
    monkeypatch.setattr(
        theory, "evaluate", lambda y, rest, **norm: given.append((y, norm)) or evaluate(y, rest, **norm)
    )
    theorems.measure(point_of(norm, STEP), **SETTINGS | {"units": 1})
    assert {of.get("eps", 0.0) for _, of in given} == {0.0, 1e-5}
    for y, of in given:
        torch.testing.assert_close(theory.batch_norm(y, **of), y, rtol=1e-12, atol=1e-13)


def test_at_the_start_bn_makes_hessians_indefinite_somewhere(point_of):
    rows = theorems.measure(point_of("batch", 0), **SETTINGS)
    assert any(row["thm4.2_semidefinite"] == 0 for row in rows)


def test_the_printed_theorem_4_4_is_violated_on_trained_nets(measured):
    slacks = [row["thm4.4_printed_slack"] for case in BOTH for row in measured(*case)[2]]
    assert min(slacks) < -0.1
    assert np.mean(np.array(slacks) < -1e-9) > 0.5


# -- which rows -----------------------------------------------------------------------------------


def test_only_every_nth_step_has_rows(point_of):
    assert theorems.measure(point_of("none", 9), **SETTINGS | {"every": 4}) == []
    few = SETTINGS | {"every": 4, "layers": {"#13": 5}, "units": 1}
    assert len(theorems.measure(point_of("none", 8), **few)) == 1
    assert len(theorems.measure(point_of("none", 0), **few)) == 1


def test_units_are_those_of_the_activations_and_values_are_samples_times_positions(measured):
    point, settings, rows = measured("vgg", "batch")
    moments = activations.measure(point, layers=settings["layers"], units=settings["units"], bins=2)
    assert {(row["layer"], row["unit"]) for row in rows} == {(row["layer"], row["unit"]) for row in moments}
    values = {row["layer"]: row["values"] for row in rows}
    assert values == {"#2": 6 * 64, "#3": 6 * 16, "#13": 6}
    assert all(row["values"] == 40 for row in measured("deep_linear", "none")[2])


def edited(point, name, edit):
    """Return a point whose parameter `name` was edited."""
    state = dict(zip(point.names, point.parameters, strict=True)) | point.buffers
    state[name] = edit(state[name].clone())
    return Point(point.run, state, step=point.step, lr=point.lr)


def test_dead_units_have_no_row(point_of):
    last = SETTINGS | {"layers": {"#13": 5}, "units": 8}
    point = point_of("none", STEP)
    alive = {row["unit"] for row in theorems.measure(point, **last)}
    assert len(alive) > 4
    unit = min(alive)

    def below_zero(bias):
        bias[unit] = -1e3
        return bias

    def constant(weight):
        weight[unit] = 0
        return weight

    for name, edit in (("5.linear.bias", below_zero), ("5.linear.weight", constant)):
        rows = theorems.measure(edited(point, name, edit), **last)
        assert {row["unit"] for row in rows} == alive - {unit}
    without_scale = edited(point_of("batch", STEP), "5.norm.weight", constant)
    assert unit not in {row["unit"] for row in theorems.measure(without_scale, **last)}


# -- no side effects, and the cost ----------------------------------------------------------------


def everything(point):
    """Return copies of everything that the probe could change."""
    model = point.run.model
    return {
        "model": copy.deepcopy(model.state_dict()),
        "point": [p.clone() for p in point.parameters] + [b.clone() for b in point.buffers.values()],
        "gradients": [p.grad for p in model.parameters()],
        "leaves": [p.requires_grad for p in [*model.parameters(), *point.parameters]],
        "modes": [module.training for module in model.modules()],
        "streams": [getattr(module, "stream", None) for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "data": [v.clone() for v in point.run.data.values() if isinstance(v, torch.Tensor)],
        "torch": torch.get_rng_state(),
        "others": (random.getstate(), torch.get_default_dtype(), torch.is_grad_enabled()),
    }


def assert_bitwise_same(before, after):
    for name, value in before.items():
        if isinstance(value, dict):
            assert_bitwise_same(value, after[name])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, after[name]), name
        elif isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            assert all(torch.equal(a, b) for a, b in zip(value, after[name], strict=True)), name
        else:
            assert value == after[name], name


@pytest.mark.parametrize(
    ("task", "norm"), [*BOTH, ("vgg", "noisy_batch"), ("vgg", "noise"), ("vgg", "l1"), ("vgg", "linf")]
)
def test_the_probe_leaves_the_point_bitwise_untouched_and_finds_the_same_again(measured, task, norm):
    point, settings, rows = measured(task, norm)
    point.loss(point.parameters)  # every pass sets the noise of the step
    before = everything(point)
    assert theorems.measure(point, **settings) == rows
    assert_bitwise_same(before, everything(point))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_unit_costs_four_gradients_and_its_hessian_products(point_of, monkeypatch, norm):
    calls = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: calls.append(1) or grad(*a, **k))
    rows = theorems.measure(point_of(norm, STEP), **SETTINGS | {"layers": {"#2": 2}})
    assert len(rows) == 2
    # Lanczos ends early if H has a low rank, as it has without BN.
    most = 2 * (4 + 6 + theorems.PRODUCTS)
    assert len(calls) == most if norm == "batch" else len(calls) < most


# -- quantities and figures of the rows -----------------------------------------------------------


def test_per_step_is_the_mean_over_units(measured):
    _, _, rows = measured("deep_linear", "batch")  # of three units a layer
    table = pd.DataFrame(rows).assign(condition="c", seed=1, step=STEP)
    found = quantities.per_step(table)
    assert list(found.columns[:4]) == ["condition", "seed", "layer", "step"]
    assert "unit" not in found
    for layer in ("#1", "#3"):
        (line,) = found[found["layer"] == layer].to_dict("records")
        of_layer = [row for row in rows if row["layer"] == layer]
        for name in ("values", "thm4.1_mean_share", "thm4.2_premise", "thm4.2_slack_eps"):
            assert line[name] == pytest.approx(sum(row[name] for row in of_layer) / len(of_layer))


@pytest.fixture(scope="module")
def drawn_from(measured):
    """Conditions, and raw tables of two seeds at two steps, of both tasks without and with BN."""
    conditions, tables = {}, []
    for task, norm in BOTH:
        name = f"{task}_{norm}"
        conditions[name] = {"task": task, "norm": norm, "lr": 0.1}
        for seed in (0, 1):
            table = pd.DataFrame(measured(task, norm)[2]).assign(condition=name, seed=seed)
            tables += [table.assign(step=step) for step in (0, 8)]
    return conditions, pd.concat(tables)


def draw(conditions, tables):
    over_seeds = {
        "theorems": statistics.over_seeds(statistics.per_seed([tables], table="theorems")),
        "random_layers": random_layers.random_layers(draws=4, seed=0),
    }
    first_seed = {"theorems": tables[tables["seed"] == 0]}
    return plugins.load("figures", "theorems").draw(over_seeds, first_seed, conditions=conditions)


def test_the_figure_is_drawn_from_probes_of_both_tasks_and_random_layers(drawn_from, tmp_path):
    figure = draw(*drawn_from)
    assert len(figure.axes) == 4 + 2 * 5
    # All errors of identities lie below the tolerance, and every curve ends at a share of 1.
    for line in figure.axes[0].get_lines()[: 1 + len(BOTH)]:
        assert line.get_xdata().max() < verdicts.TOLERANCE
        assert line.get_ydata()[-1] == 1
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("broken", ["vgg_none", "deep_linear_batch"])
@pytest.mark.parametrize("value", [None, np.inf, np.nan])
def test_the_figure_is_drawn_where_a_condition_has_no_finite_values_or_no_rows(drawn_from, broken, value):
    conditions, tables = drawn_from
    lost = tables["condition"] == broken
    if value is None:
        tables = tables[~lost]
    else:
        tables = tables.copy()
        numbers = tables.filter(regex="^(thm|obs)").columns
        tables.loc[lost, numbers] = value
    figure = draw(conditions, tables)
    figure.set_layout_engine("none")
    figure.draw_without_rendering()
    for ax in figure.axes:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
