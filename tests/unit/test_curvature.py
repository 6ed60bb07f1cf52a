"""Curvature: known spectra, full Hessians of nets, finite differences, and mistakes that must be noticed."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bnopt.probes import _lanczos, along_gradient, curvature
from bnopt.quantities import curvature as quantities
from bnopt.run import streams
from bnopt.run.vectors import descend
from unit import whole_hessian
from unit.whole_hessian import precise_point

NORMS = ["none", "batch", "l1", "l2", "linf"]
CASES = [(task, norm) for task in ("vgg", "deep_linear") for norm in NORMS]
SMOOTH = [("vgg", "none"), ("vgg", "batch"), ("deep_linear", "none"), ("deep_linear", "batch")]
cases = pytest.mark.parametrize(("task", "norm"), CASES)
smooth_cases = pytest.mark.parametrize(("task", "norm"), SMOOTH)


def row_of(point, *, products=60, draws=2):
    (row,) = curvature.measure(point, every=1, phases=1, products=products, draws=draws)
    return row


def literal(gradient, hessian):
    """Return the columns, without the residual and the trace's error, from the full Hessian."""
    values, vectors = np.linalg.eigh(hessian.numpy())
    g, h = gradient.numpy(), hessian.numpy()
    return {
        "sharpness": values[-1],
        "lowest": values[0],
        "gradient_curvature": g @ h @ g / (g @ g),
        "hessian_gradient": np.linalg.norm(h @ g) / np.linalg.norm(g),
        "alignment": (g @ vectors[:, -1]) ** 2 / (g @ g),
        "trace": np.trace(h),
    }


# -- quadratics with known eigenvalues -------------------------------------------------------------


def quadratic(eigenvalues, start, *, rotated=True, lr=0.1):
    """Return a point of the loss xᵀAx / 2, whose x is split into three tensors, and A and x."""
    size = len(eigenvalues)
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(size, size)))[0] if rotated else np.eye(size)
    a = torch.from_numpy(basis @ np.diag(eigenvalues) @ basis.T if rotated else np.diag(eigenvalues))
    x = torch.from_numpy(basis @ np.asarray(start, dtype=float))
    shapes = [(2, 2), (1,), (size - 5,)]

    def parts(vector):
        cut = vector.split([math.prod(shape) for shape in shapes])
        return [part.view(shape) for part, shape in zip(cut, shapes, strict=True)]

    def flat(tensors):
        return torch.cat([t.flatten() for t in tensors])

    def derivatives(parameters):
        at = flat(parameters)
        return at @ a @ at / 2, parts(a @ at), lambda v: parts(a @ flat(v))

    point = SimpleNamespace(
        value_gradient_and_hessian=derivatives, parameters=parts(x), lr=lr, step=0, seed=0
    )
    return point, a, x


EIGENVALUES = [7.0, 3.0, 2.0, 1.0, 0.5, 0.1, -4.0]


def test_on_a_quadratic_all_columns_have_their_closed_form():
    point, a, x = quadratic(EIGENVALUES, [0.3, 1, -2, 1, 0.5, 3, 1])
    row = row_of(point, products=7)
    expected = literal(a @ x, a)
    assert (expected["sharpness"], expected["lowest"]) == (pytest.approx(7), pytest.approx(-4))
    for name in ("sharpness", "lowest", "gradient_curvature", "hessian_gradient", "alignment"):
        assert row[name] == pytest.approx(expected[name], rel=1e-10), name
    assert row["residual"] < 1e-10
    assert (row["phase"], row["lr"]) == (0, 0.1)


def test_the_largest_eigenvalue_is_not_the_largest_in_absolute_value():
    point, _, _ = quadratic([-9.0, 3.0, 2.0, 1.0, 0.5, 0.1, -4.0], [1.0] * 7)
    row = row_of(point, products=7)
    assert (row["sharpness"], row["lowest"]) == (pytest.approx(3), pytest.approx(-9))


def test_the_trace_of_a_diagonal_hessian_is_exact_for_random_signs():
    point, _, _ = quadratic(EIGENVALUES, [1.0] * 7, rotated=False)
    row = row_of(point, draws=3)
    assert row["trace"] == pytest.approx(sum(EIGENVALUES), rel=1e-12)
    assert row["trace_error"] == pytest.approx(0, abs=1e-12)


def test_the_trace_is_a_mean_over_its_own_draws_with_its_standard_error():
    point, a, _ = quadratic(EIGENVALUES, [1.0] * 7)
    row = row_of(point, draws=400)
    forms = []
    for number in range(400):
        generator = streams.generator(0, "trace", 0, number)
        u = 2.0 * torch.randint(2, (7,), generator=generator).double() - 1
        assert set(u.abs().tolist()) == {1.0}
        forms.append((u @ a @ u).item())
    assert row["trace"] == pytest.approx(np.mean(forms), rel=1e-12)
    assert row["trace_error"] == pytest.approx(np.std(forms, ddof=1) / 20, rel=1e-12)
    assert abs(row["trace"] - sum(EIGENVALUES)) < 4 * row["trace_error"]
    assert row["trace_error"] > 0


def test_with_few_products_the_residual_says_how_far_an_eigenvalue_is():
    eigenvalues = np.linspace(1, 2, 60)
    point, _, _ = quadratic(eigenvalues, [1.0] * 60)
    rows = {products: row_of(point, products=products) for products in (2, 5, 20, 60)}
    for row in rows.values():
        off = np.abs(eigenvalues / row["sharpness"] - 1).min()
        assert off <= row["residual"] + 1e-12
        assert row["sharpness"] <= 2 + 1e-12
    assert rows[2]["residual"] > 0.01 > rows[60]["residual"]


def test_the_residual_notices_a_wrong_product():
    """It comes from a product of its own: the recurrence would not see it."""
    point, _, _ = quadratic(EIGENVALUES, [1.0] * 7)
    exact = point.value_gradient_and_hessian
    calls = []

    def derivatives(parameters):
        value, gradient, product = exact(parameters)

        def wrong(v):
            calls.append(0)
            return product(v) if len(calls) <= 7 else [2 * t for t in product(v)]

        return value, gradient, wrong

    point.value_gradient_and_hessian = derivatives
    assert row_of(point, products=7)["residual"] == pytest.approx(1)


@pytest.mark.parametrize("products", [1, 3, 10])
def test_lanczos_on_a_matrix_of_low_rank_ends_early(products):
    vector = torch.arange(1.0, 9.0, dtype=torch.float64)
    calls = []

    def product(v):
        calls.append(0)
        return vector * (vector @ v)

    start = torch.ones(8, dtype=torch.float64)
    found = _lanczos.ends(product, start, products=products)
    assert len(calls) <= 3
    if products > 1:
        assert found.highest == pytest.approx(204, rel=1e-12)
        assert abs(found.top @ vector).item() == pytest.approx(204**0.5, rel=1e-12)
    assert found.top.norm().item() == pytest.approx(1, rel=1e-14)


def test_values_are_nan_where_derivatives_are_not_finite():
    point, _, _ = quadratic([math.inf, *EIGENVALUES[1:]], [1.0] * 7, rotated=False)
    row = row_of(point)
    assert math.isnan(row["sharpness"])
    assert math.isnan(row["residual"])


def test_without_a_gradient_only_the_columns_about_the_gradient_are_nan():
    point, _, _ = quadratic(EIGENVALUES, [0.0] * 7)
    row = row_of(point, products=7)
    assert {name for name, value in row.items() if math.isnan(value)} == {
        "gradient_curvature", "hessian_gradient", "alignment",
    }  # fmt: skip
    assert row["sharpness"] == pytest.approx(7)


# -- nets: the full Hessian by elementary operations, column by column ------------------------------


@cases
def test_on_a_net_all_columns_are_those_of_the_full_hessian(prepared, task, norm):
    point = precise_point(prepared, task, norm)
    gradient, hessian = whole_hessian.of_precise_point(prepared, task, norm)
    assert 200 < len(gradient) < 700
    expected = literal(gradient, hessian)
    row = row_of(point, products=150)
    for name in ("sharpness", "lowest", "gradient_curvature", "hessian_gradient"):
        assert row[name] == pytest.approx(expected[name], rel=1e-6), name
    assert row["alignment"] == pytest.approx(expected["alignment"], rel=1e-4, abs=1e-9)
    assert row["residual"] < 1e-6
    # With the study's 20 products the largest eigenvalue agrees as well, or the residual says why not.
    few = row_of(point, products=20)
    off = abs(few["sharpness"] / expected["sharpness"] - 1)
    assert off <= max(1e-6, few["residual"])
    assert few["gradient_curvature"] == row["gradient_curvature"]


@cases
def test_every_product_is_that_of_the_full_hessian(prepared, task, norm):
    """Among them double backward through the batch norm in training mode."""
    point = precise_point(prepared, task, norm)
    gradient, hessian = whole_hessian.of_precise_point(prepared, task, norm)
    _, found, product = point.value_gradient_and_hessian(point.parameters)
    assert (whole_hessian.flat(found) - gradient).norm() <= 1e-13 * gradient.norm()
    for seed in range(3):
        random = torch.Generator().manual_seed(seed)
        v = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in point.parameters]
        expected = hessian @ whole_hessian.flat(v)
        assert (whole_hessian.flat(product(v)) - expected).norm() <= 1e-13 * expected.norm()


@cases
def test_the_trace_is_near_that_of_the_full_hessian(prepared, task, norm):
    point = precise_point(prepared, task, norm)
    _, hessian = whole_hessian.of_precise_point(prepared, task, norm)
    row = row_of(point, products=1, draws=40)
    assert abs(row["trace"] - hessian.trace().item()) < 4 * row["trace_error"]
    off_diagonal = hessian - torch.diag(hessian.diagonal())
    error = (2 * (off_diagonal**2).sum().item() / 40) ** 0.5
    assert row["trace_error"] == pytest.approx(error, rel=0.6)


@pytest.mark.parametrize("norm", NORMS)
def test_products_are_central_differences_of_the_fast_pass_to_second_order(prepared, norm):
    point = precise_point(prepared, "deep_linear", norm)
    assert point.run.fast_pass
    random = torch.Generator().manual_seed(0)
    v = [torch.randn(p.shape, generator=random, dtype=p.dtype) for p in point.parameters]
    product = whole_hessian.flat(point.value_gradient_and_hessian(point.parameters)[2](v))
    errors = []
    kinks = norm in ("l1", "linf")
    for size in (2e-7, 1e-7) if kinks else (1e-3, 5e-4):
        _, after = point.value_and_gradient(descend(point.parameters, v, -size))
        _, before = point.value_and_gradient(descend(point.parameters, v, size))
        slope = (whole_hessian.flat(after) - whole_hessian.flat(before)) / (2 * size)
        errors.append(((slope - product).norm() / product.norm()).item())
    assert errors[1] < (1e-5 if kinks else 1e-2)
    if not kinks:
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@smooth_cases
def test_beta_tends_to_the_length_of_the_curved_gradient_at_first_order(prepared, task, norm):
    point = precise_point(prepared, task, norm, smooth=True)
    row = row_of(point)
    scale = 0.02 / row["sharpness"] / point.lr
    rows = along_gradient.measure(point, step_sizes=[scale, scale / 2])
    squared = rows[0]["gradient_length"] ** 2
    errors = {"beta": [], "slope": [], "progress": []}
    for found in rows:
        eta = found["eta"]
        beta = found["gradient_change"] / (eta * found["gradient_length"])
        errors["beta"].append(beta / row["hessian_gradient"] - 1)
        smoothness = (1 - found["inner"]) / eta
        errors["slope"].append(smoothness / row["gradient_curvature"] - 1)
        progress = (found["loss"] - found["loss_at_start"]) / (eta * squared)
        errors["progress"].append((progress + 1) * 2 / eta / row["gradient_curvature"] - 1)
    for name, (first, second) in errors.items():
        assert abs(second) < 0.2, name
        assert first / second == pytest.approx(2, rel=0.15), name


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
def test_mistakes_give_other_values(prepared, task):
    point = precise_point(prepared, task, "batch")
    row = row_of(point)
    gradient, hessian = whole_hessian.of_precise_point(prepared, task, "batch")
    weights = torch.cat(
        [
            torch.full((p.numel(),), ".norm." not in n)
            for n, p in zip(point.names, point.parameters, strict=True)
        ]
    )
    wrong = {
        "evaluation mode": literal(*whole_hessian.gradient_and_hessian(point, "batch", evaluation=True)),
        "without γ and β": literal(gradient[weights], hessian[weights][:, weights]),
        "a sum of squares for the loss's half": literal(2 * gradient, 2 * hessian),
    }
    if task == "vgg":
        wrong["another batch"] = literal(
            *whole_hessian.gradient_and_hessian(point, "batch", step=point.step + 1)
        )
    for mistake, values in wrong.items():
        for name in ("sharpness", "gradient_curvature", "hessian_gradient"):
            assert abs(values[name] / row[name] - 1) > 1e-3, (mistake, name)


@pytest.mark.parametrize("norm", ["batch", "l1"])
def test_running_statistics_do_not_enter(prepared, norm):
    point = precise_point(prepared, "vgg", norm)
    settings = {"every": 1, "phases": 2, "products": 5, "draws": 2}
    before = curvature.measure(point, **settings)
    for buffer in point.buffers.values():
        buffer.mul_(3).add_(1)
    assert curvature.measure(point, **settings) == before


# -- phases, steps, draws and cost -----------------------------------------------------------------


@pytest.mark.parametrize("task", ["vgg", "deep_linear"])
@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_the_second_phase_is_the_first_of_the_next_snapshot(point_of, task, norm):
    settings = {"every": 1, "products": 6, "draws": 2}
    rows = curvature.measure(point_of(norm, 4, task=task), phases=2, **settings)
    following = curvature.measure(point_of(norm, 5, task=task), phases=1, **settings)
    assert [row["phase"] for row in rows] == [0, 1]
    assert rows[1] | {"phase": 0} == following[0]
    assert rows[0] != rows[1] | {"phase": 0}


def test_the_second_phase_is_one_update_of_the_run_away(prepared):
    point = precise_point(prepared, "deep_linear", "batch")
    theta = whole_hessian.flat(point.parameters)
    gradient, _ = whole_hessian.of_precise_point(prepared, "deep_linear", "batch")
    moved = theta - point.lr * gradient
    expected = literal(*whole_hessian.gradient_and_hessian(point, "batch", at=moved))
    rows = curvature.measure(point, every=1, phases=2, products=150, draws=2)
    for name in ("sharpness", "lowest", "gradient_curvature", "hessian_gradient"):
        assert rows[1][name] == pytest.approx(expected[name], rel=1e-6)
        assert abs(rows[1][name] / rows[0][name] - 1) > 1e-3


def test_only_every_nth_step_has_rows(point_of):
    settings = {"every": 4, "phases": 1, "products": 2, "draws": 2}
    assert [len(curvature.measure(point_of("batch", step), **settings)) for step in (0, 2, 3, 4, 8)] == [
        1, 0, 0, 1, 1,
    ]  # fmt: skip


def test_a_phase_costs_one_forward_pass(point_of):
    point = point_of("batch", 4)
    calls = []
    point.run.model.register_forward_hook(lambda *_: calls.append(0))
    curvature.measure(point, every=1, phases=1, products=5, draws=3)
    assert len(calls) == 1


def test_quantities_are_means_over_phases_and_in_units_of_the_edge(point_of):
    point = point_of("batch", 4, task="deep_linear")
    rows = curvature.measure(point, every=1, phases=2, products=6, draws=2)
    table = pd.DataFrame(rows).assign(condition="c", seed=0, step=4)
    (found,) = quantities.per_step(table).to_dict("records")
    for name in set(rows[0]) - {"phase", "lr"}:
        mean = (rows[0][name] + rows[1][name]) / 2
        assert found[name] == pytest.approx(mean, rel=1e-12)
        if name not in ("alignment", "residual"):
            assert found[f"{name}_in_edges"] == pytest.approx(mean * 1e-6 / 2, rel=1e-12)
    assert not {"phase", "lr", "alignment_in_edges"} & set(found)
