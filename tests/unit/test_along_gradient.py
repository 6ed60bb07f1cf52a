"""The landscape along the gradient: closed form, brute force, and the mistakes of other implementations."""

import copy
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bnopt import plugins
from bnopt.probes import _line, along_gradient, random_directions
from bnopt.quantities import along_gradient as quantities
from bnopt.run.vectors import value_and_gradient

SIZES = [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]
LR = 0.1


def per_step(rows, **keys):
    table = pd.DataFrame(rows).assign(**({"condition": "c", "seed": 0, "step": 0} | keys))
    (step,) = quantities.per_step(table).to_dict("records")
    return step


# -- a quadratic loss with a closed form -----------------------------------------------------------


def quadratic(eigenvalues, start, *, lr, seed=0):
    """Return a point of the loss xᵀAx / 2, whose x is split into three tensors, and A and x."""
    random = np.random.default_rng(seed)
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(random.normal(size=(size, size)))
    matrix = basis @ np.diag(eigenvalues) @ basis.T
    x = basis @ np.asarray(start, dtype=float)
    a = torch.from_numpy(matrix)
    shapes = [(2, 2), (1,), (size - 5,)]

    def loss(parameters):
        flat = torch.cat([p.flatten() for p in parameters])
        return flat @ a @ flat / 2

    parts = torch.from_numpy(x).split([math.prod(shape) for shape in shapes])
    parameters = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    both = partial(value_and_gradient, loss)
    run = SimpleNamespace(fast_pass=None)
    return SimpleNamespace(value_and_gradient=both, parameters=parameters, lr=lr, run=run), matrix, x


EIGENVALUES = [7.0, 3.0, 2.0, 1.0, 0.5, 0.1, -1.0]


@pytest.mark.parametrize("lr", [0.1, 1e-3])
def test_on_a_quadratic_loss_and_gradient_have_their_closed_form(lr):
    point, matrix, x = quadratic(EIGENVALUES, [0.3, 1, -2, 1, 0.5, 3, 1], lr=lr)
    rows = along_gradient.measure(point, step_sizes=SIZES)
    gradient = matrix @ x
    assert [row["eta"] for row in rows] == pytest.approx([size * lr for size in SIZES])
    for row in rows:
        moved = x - row["eta"] * gradient
        assert row["lr"] == lr
        assert row["loss"] == pytest.approx(moved @ matrix @ moved / 2, rel=1e-12)
        assert row["gradient_length"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
        change = row["eta"] * np.linalg.norm(matrix @ gradient)
        assert row["gradient_change"] == pytest.approx(change, rel=1e-9)
        assert row["loss_at_start"] == pytest.approx(x @ matrix @ x / 2, rel=1e-12)
        product = (matrix @ moved) @ gradient
        assert row["inner"] == pytest.approx(product / (gradient @ gradient), rel=1e-9, abs=1e-12)


def test_on_a_quadratic_beta_is_the_same_at_every_step_size_and_below_the_top_eigenvalue():
    point, matrix, x = quadratic(EIGENVALUES, [0.3, 1, -2, 1, 0.5, 3, 1], lr=0.1)
    found = per_step(along_gradient.measure(point, step_sizes=SIZES))
    gradient = matrix @ x
    beta = np.linalg.norm(matrix @ gradient) / np.linalg.norm(gradient)
    assert found["beta"] == pytest.approx(beta, rel=1e-9)
    assert found["beta_at_lr"] == pytest.approx(beta, rel=1e-9)
    assert 1 < beta < 6.9


@pytest.mark.parametrize("which", range(len(EIGENVALUES)))
def test_on_a_quadratic_beta_along_an_eigenvector_is_the_size_of_its_eigenvalue(which):
    start = [0.0] * len(EIGENVALUES)
    start[which] = 2.5
    point, _, _ = quadratic(EIGENVALUES, start, lr=0.1)
    found = per_step(along_gradient.measure(point, step_sizes=SIZES))
    assert found["beta"] == pytest.approx(abs(EIGENVALUES[which]), rel=1e-9)


def test_losses_along_an_eigenvector_shrink_as_one_minus_eta_lambda_squared():
    point, _, _ = quadratic([2.0] * 7, [1.0] * 7, lr=0.1)
    for row in along_gradient.measure(point, step_sizes=[0.5, 1, 10]):
        assert row["loss"] == pytest.approx(7 * (1 - 2 * row["eta"]) ** 2, abs=1e-12)


def test_on_a_quadratic_another_line_has_its_closed_form_too():
    point, matrix, x = quadratic(EIGENVALUES, [0.3, 1, -2, 1, 0.5, 3, 1], lr=0.1)
    direction = np.random.default_rng(1).normal(size=len(x))
    parts = torch.from_numpy(direction).split([p.numel() for p in point.parameters])
    tensors = [part.view(p.shape) for part, p in zip(parts, point.parameters, strict=True)]
    _, gradient = point.value_and_gradient(point.parameters)
    rows = _line.along_line(point, gradient, tensors, step_sizes=SIZES)
    assert [row["eta"] for row in rows] == pytest.approx([size * 0.1 for size in SIZES])
    for row in rows:
        moved = x - row["eta"] * direction
        change = row["eta"] * np.linalg.norm(matrix @ direction)
        assert row["lr"] == 0.1
        assert row["loss"] == pytest.approx(moved @ matrix @ moved / 2, rel=1e-12)
        assert row["gradient_change"] == pytest.approx(change, rel=1e-9)
        assert row["gradient_length"] == pytest.approx(np.linalg.norm(matrix @ x), rel=1e-12)


# -- brute force on a net -------------------------------------------------------------------------


class Bench:
    """A copy of the net of a point: gradients by a plain backward pass, with options for the mistakes."""

    def __init__(self, point):
        self.run, self.step = point.run, point.step
        self.model = copy.deepcopy(point.run.model)
        self.state = dict(zip(point.names, point.parameters, strict=True)) | point.buffers
        self.start = self.flat(point.parameters)
        self.gradient = self.at(self.start)[1]

    @staticmethod
    def flat(tensors):
        return torch.cat([t.detach().flatten() for t in tensors]).clone()

    def at(self, theta, *, step=None, training=True, accumulate=False):
        """Return loss and gradient at the flat vector theta."""
        step = self.step if step is None else step
        self.model.load_state_dict(self.state)
        self.model.train(training)
        for name, module in self.model.named_modules():
            if hasattr(module, "stream"):
                module.stream = (self.run.seed, step, int(name.split(".")[0]))
        position = 0
        for parameter in self.model.parameters():
            count = parameter.numel()
            parameter.data = theta[position : position + count].view(parameter.shape).clone()
            position += count
            if not accumulate:
                parameter.grad = None
        inputs, labels = self.run.batch(step)
        loss = torch.nn.functional.cross_entropy(self.model(inputs), labels)
        loss.backward()
        return loss.item(), self.flat(p.grad for p in self.model.parameters())

    def change(self, a, b):
        return math.sqrt(((a.double() - b.double()) ** 2).sum().item())


@pytest.mark.parametrize("norm", plugins.names("norms"))
@pytest.mark.parametrize("step", [0, 9])
def test_on_a_net_the_probe_is_brute_force_at_every_step_size(point_of, norm, step):
    point = point_of(norm, step)
    bench = Bench(point)
    size = bench.gradient.double().norm().item()
    # With two units in a group and no positions, the outputs of `group` are nearly signs: rounding shows.
    tolerance = 0.02 if norm == "group" else 1e-5
    for row in along_gradient.measure(point, step_sizes=SIZES):
        loss, gradient = bench.at(bench.start - row["eta"] * bench.gradient)
        change = bench.change(gradient, bench.gradient)
        assert row["loss"] == pytest.approx(loss, rel=tolerance)
        assert row["gradient_length"] == pytest.approx(size, rel=tolerance)
        assert row["gradient_change"] == pytest.approx(change, rel=10 * tolerance)
        assert row["loss_at_start"] == pytest.approx(bench.at(bench.start)[0], rel=tolerance)
        product = (gradient.double() @ bench.gradient.double()).item()
        if norm == "group":  # far along the gradient, its direction is all rounding
            continue
        assert row["inner"] == pytest.approx(product / size**2, rel=10 * tolerance, abs=tolerance)


@pytest.mark.parametrize("norm", ["none", "batch", "l1", "linf"])
def test_on_a_deep_linear_net_the_two_columns_are_those_of_plain_passes_at_every_step_size(point_of, norm):
    point = point_of(norm, 4, task="deep_linear")
    assert point.run.fast_pass
    start, gradient = value_and_gradient(point.loss, point.parameters)
    squared = sum((g * g).sum().item() for g in gradient)
    for row in along_gradient.measure(point, step_sizes=[0.01, 1, 30]):
        moved = [p - row["eta"] * g for p, g in zip(point.parameters, gradient, strict=True)]
        _, after = value_and_gradient(point.loss, moved)
        product = sum((a * g).sum().item() for a, g in zip(after, gradient, strict=True))
        assert row["loss_at_start"] == pytest.approx(start.item(), rel=1e-12)
        assert row["inner"] == pytest.approx(product / squared, rel=1e-8)


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_the_two_columns_cost_no_pass_and_random_directions_do_not_have_them(point_of, task):
    point = point_of("batch", 4, task=task)
    calls = []
    given = point.run.fast_pass or point.value_and_gradient

    def counted(parameters):
        calls.append(0)
        return given(parameters)

    if point.run.fast_pass:
        point.run.fast_pass = counted
    else:
        point.value_and_gradient = counted
    rows = along_gradient.measure(point, step_sizes=SIZES)
    assert len(calls) == (2 if task == "deep_linear" else 1 + len(SIZES))
    assert list(rows[0])[-2:] == ["loss_at_start", "inner"]
    others = random_directions.measure(point, step_sizes=[1], directions=1)
    assert list(others[0]) == ["direction", *list(rows[0])[:-2]]


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_extrema_over_the_grid_are_those_of_brute_force(point_of, norm):
    point = point_of(norm, 9)
    bench = Bench(point)
    losses, changes, betas = [], [], []
    for size in SIZES:
        loss, gradient = bench.at(bench.start - size * LR * bench.gradient)
        losses.append(loss)
        changes.append(bench.change(gradient, bench.gradient))
        betas.append(changes[-1] / (size * LR * bench.gradient.double().norm().item()))
    found = per_step(along_gradient.measure(point, step_sizes=SIZES))
    assert found["loss_min"] == pytest.approx(min(losses), rel=1e-5)
    assert found["loss_max"] == pytest.approx(max(losses), rel=1e-5)
    assert found["loss_variation"] == pytest.approx(max(losses) - min(losses), rel=1e-4)
    assert found["predictiveness_min"] == pytest.approx(min(changes), rel=1e-4)
    assert found["predictiveness"] == pytest.approx(max(changes), rel=1e-4)
    assert found["beta"] == pytest.approx(max(betas), rel=1e-4)
    assert found["beta_at_lr"] == pytest.approx(betas[SIZES.index(1)], rel=1e-4)


# -- mistakes of other implementations, each of which must give another value ----------------------


def evaluation_mode_at_the_new_point(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient, training=False)
    return bench.change(moved, bench.gradient)


def evaluation_mode_throughout(bench, eta):
    _, gradient = bench.at(bench.start, training=False)
    _, moved = bench.at(bench.start - eta * gradient, training=False)
    return bench.change(moved, gradient)


def gradients_accumulated(bench, eta):
    bench.at(bench.start)
    _, total = bench.at(bench.start - eta * bench.gradient, accumulate=True)
    return bench.change(total, bench.gradient)


def another_batch_at_the_new_point(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient, step=bench.step + 1)
    return bench.change(moved, bench.gradient)


def another_batch_without_moving(bench, eta):
    del eta
    _, other = bench.at(bench.start, step=bench.step + 1)
    return bench.change(other, bench.gradient)


def uphill(bench, eta):
    _, moved = bench.at(bench.start + eta * bench.gradient)
    return bench.change(moved, bench.gradient)


def starting_one_step_later(bench, eta):
    after = bench.start - LR * bench.gradient
    _, moved = bench.at(after - eta * bench.gradient)
    return bench.change(moved, bench.gradient)


def absolute_steps(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient / bench.gradient.norm())
    return bench.change(moved, bench.gradient)


def the_last_layer_only(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient)
    last = sum(p.numel() for p in list(bench.model.parameters())[-2:])
    return bench.change(moved[-last:], bench.gradient[-last:])


def difference_of_lengths(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient)
    return abs(moved.norm().item() - bench.gradient.norm().item())


def the_right_one(bench, eta):
    _, moved = bench.at(bench.start - eta * bench.gradient)
    return bench.change(moved, bench.gradient)


MISTAKES = [
    evaluation_mode_at_the_new_point,
    evaluation_mode_throughout,
    gradients_accumulated,
    another_batch_at_the_new_point,
    another_batch_without_moving,
    uphill,
    starting_one_step_later,
    absolute_steps,
    the_last_layer_only,
    difference_of_lengths,
]


@pytest.mark.parametrize("step", [6, 11])
def test_without_a_mistake_the_bench_gives_the_probes_numbers(point_of, step):
    point = point_of("batch", step)
    bench = Bench(point)
    found = per_step(along_gradient.measure(point, step_sizes=SIZES))
    assert max(the_right_one(bench, s * LR) for s in SIZES) == pytest.approx(
        found["predictiveness"], rel=1e-4
    )
    assert the_right_one(bench, LR) / (LR * found["gradient_length"]) == pytest.approx(
        found["beta_at_lr"], rel=1e-4
    )


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
@pytest.mark.parametrize("step", [6, 11])
def test_the_change_of_the_gradient_differs_clearly_under_the_mistake(point_of, step, mistake):
    point = point_of("batch", step)
    bench = Bench(point)
    rows = along_gradient.measure(point, step_sizes=SIZES)
    off = {row["eta"]: abs(mistake(bench, row["eta"]) / row["gradient_change"] - 1) for row in rows}
    assert off[LR] > 0.05
    assert max(off.values()) > 0.2


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_predictiveness_and_beta_differ_clearly_under_the_mistake(point_of, mistake):
    point = point_of("batch", 11)
    bench = Bench(point)
    right = per_step(along_gradient.measure(point, step_sizes=SIZES))
    wrong = {size * LR: mistake(bench, size * LR) for size in SIZES}
    assert abs(max(wrong.values()) / right["predictiveness"] - 1) > 0.05
    beta = max(change / (eta * right["gradient_length"]) for eta, change in wrong.items())
    assert abs(beta / right["beta"] - 1) > 0.05


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_beta_differs_clearly_if_not_divided_by_the_distance_of_its_own_step(point_of, norm):
    rows = along_gradient.measure(point_of(norm, 9), step_sizes=SIZES)
    right = per_step(rows)["beta"]
    not_divided = max(row["gradient_change"] for row in rows)
    not_by_the_length = max(row["gradient_change"] / row["eta"] for row in rows)
    by_the_base_rate = max(row["gradient_change"] / (LR * row["gradient_length"]) for row in rows)
    by_the_largest_step = max(row["gradient_change"] / (4 * LR * row["gradient_length"]) for row in rows)
    assert right == pytest.approx(
        max(row["gradient_change"] / (row["eta"] * row["gradient_length"]) for row in rows)
    )
    for wrong in (not_divided, not_by_the_length, by_the_base_rate, by_the_largest_step):
        assert abs(wrong / right - 1) > 0.05


def test_a_band_over_runs_with_different_rates_is_another_quantity(run_of, point_of):
    """Most other reproductions draw the spread of the loss, at one step, over runs at several rates."""
    rates = [size * LR for size in (0.5, 1, 2, 4)]
    for step in (6, 11):
        losses = [run_of("batch", lr=rate).curve["loss"][step] for rate in rates]
        rows = along_gradient.measure(point_of("batch", step), step_sizes=[0.5, 1, 2, 4])
        right = per_step(rows)["loss_variation"]
        assert abs((max(losses) - min(losses)) / right - 1) > 0.05


def test_evaluation_mode_inflates_the_number_of_a_net_with_batch_norm_only(point_of):
    ratios = {}
    for norm in ("none", "batch"):
        bench = Bench(point_of(norm, 11))
        ratios[norm] = evaluation_mode_at_the_new_point(bench, LR) / the_right_one(bench, LR)
    assert ratios["none"] == pytest.approx(1)
    assert ratios["batch"] > 1.5
