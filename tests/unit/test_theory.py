"""The theorems against full Jacobians and Hessians, finite differences and maximisation by search."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize
from torch.autograd.functional import hessian, jacobian
from torch.nn import functional

from bnopt import random_layers, theorem_table, theory
from bnopt.probes import _lanczos

TIGHT = 1e-10
RESTS = ["quadratic", "net", "bn_net"]
CASES = [(rest, seed) for rest in RESTS for seed in range(3)]


def case(rest, seed, m=7):
    """Return y, the rest of a net, γ and β, all random."""
    random = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(size, generator=random, dtype=torch.float64)

    y, gamma, beta = 2 * normal(m) + 1, (normal() + 0.3).item(), normal().item()
    matrix, vector, others, first, second = normal(m, m), normal(m), normal(m, 2), normal(3, 5), normal(5, 3)
    labels = normal(m, 3).argmax(1)

    def quadratic(z):
        return z @ matrix @ z + vector @ z + (z * vector).cos().sum()

    def net(z):
        hidden = torch.cat([others, z[:, None]], dim=1) @ first
        if rest == "bn_net":
            hidden = functional.batch_norm(hidden, None, None, training=True)
        return functional.cross_entropy(torch.tanh(hidden) @ second, labels)

    return y, quadratic if rest == "quadratic" else net, gamma, beta


def torchs_batch_norm(y, gamma, beta, eps):
    """Return PyTorch's batch norm of one unit in training mode, below the wrapper that refuses ε = 0."""
    weight, bias = torch.tensor([[gamma], [beta]], dtype=torch.float64)
    return torch.batch_norm(y[:, None], weight, bias, None, None, True, 0.0, eps, False)[:, 0]


def normalised_loss(rest, gamma, beta, eps):
    """Return the loss with BN as a function of y, with PyTorch's own batch normalisation."""
    return lambda y: rest(torchs_batch_norm(y, gamma, beta, eps))


class Slow:
    """Everything in a Unit, and its inputs, computed with full matrices."""

    def __init__(self, name, seed, eps=0.0, m=7):
        self.y, self.rest, self.gamma, self.beta = case(name, seed, m)
        self.m, self.eps = m, eps
        values = self.y.tolist()
        mean = sum(values) / m
        self.variance = sum((v - mean) ** 2 for v in values) / m
        self.scale = math.sqrt(self.variance + eps)
        self.normalised = torch.tensor([(v - mean) / self.scale for v in values], dtype=torch.float64)
        self.z = self.gamma * self.normalised + self.beta
        self.loss = normalised_loss(self.rest, self.gamma, self.beta, eps)
        self.g, self.d = jacobian(self.rest, self.z), jacobian(self.loss, self.y)
        self.H, self.A = hessian(self.rest, self.z), hessian(self.loss, self.y)

    def unit(self):
        return theory.evaluate(self.y, self.rest, gamma=self.gamma, beta=self.beta, eps=self.eps)


def by_differences(function, at, step=1e-5):
    unit_vectors = torch.eye(len(at), dtype=torch.float64)
    return torch.stack(
        [(function(at + step * e) - function(at - step * e)) / (2 * step) for e in unit_vectors]
    )


# -- the basis of all theorems --------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.3])
def test_batch_norm_is_torchs(eps):
    y, _, gamma, beta = case("net", 0)
    z = theory.batch_norm(y, gamma=gamma, beta=beta, eps=eps)
    torch.testing.assert_close(z, torchs_batch_norm(y, gamma, beta, eps), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_a_unit_agrees_with_full_matrices_and_with_differences(rest, seed, eps):
    slow = Slow(rest, seed, eps)
    unit = slow.unit()
    assert unit.variance == pytest.approx(slow.variance + eps, rel=1e-12)
    for found, right in [
        (unit.normalised, slow.normalised),
        (unit.gradient, slow.g),
        (unit.output_gradient, slow.d),
        (unit.curved_gradient, slow.H @ slow.g),
        (unit.hessian_product(slow.y), slow.H @ slow.y),
    ]:
        torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-11)
    assert unit.gradient_form == pytest.approx((slow.g @ slow.H @ slow.g).item(), rel=1e-9)
    assert unit.output_gradient_form == pytest.approx((slow.d @ slow.H @ slow.d).item(), rel=1e-9)
    assert unit.output_form == pytest.approx((slow.d @ slow.A @ slow.d).item(), rel=1e-8)
    torch.testing.assert_close(by_differences(slow.rest, slow.z), unit.gradient, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(by_differences(slow.loss, slow.y), unit.output_gradient, rtol=1e-5, atol=1e-7)
    second = by_differences(lambda y: jacobian(slow.loss, y), slow.y)
    assert unit.output_form == pytest.approx((slow.d @ second @ slow.d).item(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_the_jacobian_of_batch_norm_is_the_projection_the_derivations_use(eps):
    slow = Slow("net", 1, eps)
    full = jacobian(lambda y: theory.batch_norm(y, gamma=slow.gamma, beta=slow.beta, eps=eps), slow.y)
    m, one = slow.m, torch.ones(slow.m, dtype=torch.float64)
    projection = torch.eye(m) - torch.outer(one, one) / m - torch.outer(slow.normalised, slow.normalised) / m
    torch.testing.assert_close(full, slow.gamma * projection / slow.scale, rtol=TIGHT, atol=1e-12)


def test_a_linear_rest_has_no_curvature():
    y, _, gamma, beta = case("net", 0)
    unit = theory.evaluate(y, lambda z: z @ y.square(), gamma=gamma, beta=beta)
    assert unit.gradient_form == unit.output_gradient_form == 0
    assert theory.theorem_4_2(unit)["error"] < TIGHT
    assert abs(unit.output_form) > 1e-6


def test_sides_are_compared_with_the_larger_of_them_or_with_both():
    assert theory.compare(4.0, 3.0) == {"left": 4, "right": 3, "error": 0.25, "slack": -1 / 7}
    assert theory.compare(-1.0, 3.0) == {"left": -1, "right": 3, "error": 4 / 3, "slack": 1}
    assert theory.compare(0.0, 0.0) == {"left": 0, "right": 0, "error": 0, "slack": 0}


# -- Theorem 4.1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_theorem_4_1_is_an_identity_with_the_shares_of_full_sums(rest, seed):
    slow = Slow(rest, seed)
    found = theory.theorem_4_1(slow.unit())
    g, hat, m = slow.g.tolist(), slow.normalised.tolist(), slow.m
    size = sum(v * v for v in g)
    mean_term, correlation_term = sum(g) ** 2 / m, sum(a * b for a, b in zip(g, hat, strict=True)) ** 2 / m
    assert found["left"] == pytest.approx(sum(v * v for v in slow.d.tolist()), rel=1e-10)
    assert found["right"] == pytest.approx(
        slow.gamma**2 / slow.variance * (size - mean_term - correlation_term), rel=1e-9
    )
    assert found["error"] < TIGHT
    assert abs(found["slack"]) < TIGHT
    assert found["mean_share"] == pytest.approx(mean_term / size, rel=1e-9)
    assert found["correlation_share"] == pytest.approx(correlation_term / size, rel=1e-9)


@pytest.mark.parametrize("eps", [1e-5, 0.3, 10.0])
@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_theorem_4_1_with_eps_is_an_inequality_and_an_identity_with_its_correction(rest, seed, eps):
    slow = Slow(rest, seed, eps)
    found = theory.theorem_4_1(slow.unit())
    assert found["error"] < TIGHT
    assert found["right"] > found["left"] > 0
    correlation = (slow.g @ slow.normalised).item()
    excess = slow.gamma**2 / slow.scale**4 * eps * correlation**2 / slow.m
    assert found["right"] - found["left"] == pytest.approx(excess, rel=1e-6, abs=1e-12 * found["right"])


def test_a_gradient_along_one_or_along_the_output_is_removed_entirely():
    y, *_ = case("net", 2)
    hat = theory.batch_norm(y, gamma=1.0, beta=0.0)
    along_one = theory.theorem_4_1(theory.evaluate(y, lambda z: 3 * z.sum(), gamma=2.0, beta=0.0))
    assert (along_one["mean_share"], along_one["correlation_share"]) == pytest.approx((1, 0), abs=1e-12)
    along_hat = theory.theorem_4_1(theory.evaluate(y, lambda z: 3 * z @ hat, gamma=2.0, beta=0.0))
    assert (along_hat["mean_share"], along_hat["correlation_share"]) == pytest.approx((0, 1), abs=1e-12)
    assert along_one["left"] == pytest.approx(0, abs=1e-20)
    assert along_hat["left"] == pytest.approx(0, abs=1e-20)


# -- Theorem 4.2 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_theorem_4_2_is_an_identity_and_its_bound_holds_exactly_where_its_premise_does(rest, seed):
    slow = Slow(rest, seed)
    found = theory.theorem_4_2(slow.unit())
    gain, correlation = slow.gamma**2 / slow.variance, (slow.g @ slow.normalised).item()
    dHd, gHg = ((v @ slow.H @ v).item() for v in (slow.d, slow.g))
    size = (slow.d @ slow.d).item()
    assert found["left"] == pytest.approx((slow.d @ slow.A @ slow.d).item(), rel=1e-8)
    first = gain * dHd - slow.gamma / (slow.m * slow.variance) * correlation * size
    second = gain * (gHg - correlation * size / (slow.m * slow.gamma))
    assert found["right"] == pytest.approx(first, rel=1e-8)
    assert found["bound"] == pytest.approx(second, rel=1e-8)
    assert found["error"] < TIGHT
    slack = (second - found["left"]) / (abs(second) + abs(found["left"]))
    assert found["bound_slack"] == pytest.approx(slack, rel=1e-6)
    assert found["premise"] == (dHd <= gHg) == (found["bound_slack"] >= 0)
    assert found["projected_premise"] == (dHd / gain <= gHg)
    assert found["positive_correlation"] == (correlation >= 0)
    assert found["positive_form"] == (gHg >= 0)


def test_premises_of_theorem_4_2_hold_for_some_and_fail_for_others():
    found = pd.DataFrame([theory.theorem_4_2(Slow("quadratic", seed).unit()) for seed in range(20)])
    for premise in ("premise", "projected_premise", "positive_correlation", "positive_form"):
        assert set(found[premise]) == {0.0, 1.0}
    assert (found["bound_slack"] < -0.01).any()


def test_theorem_4_2_bends_in_proportion_to_eps():
    slow = Slow("quadratic", 0)

    def error(eps):
        unit = theory.evaluate(slow.y, slow.rest, gamma=slow.gamma, beta=slow.beta, eps=eps)
        return theory.theorem_4_2(unit)["error"]

    assert error(1e-4) > 1e-7
    assert error(1e-4) / error(1e-5) == pytest.approx(10, rel=0.05)
    assert error(0.3) > 1e-3


# -- Theorem 4.4 ----------------------------------------------------------------------------------


def clipped(inputs, bound):
    """Return the nearest matrix of spectral norm at most `bound`."""
    u, s, v = np.linalg.svd(inputs, full_matrices=False)
    return u @ np.diag(np.minimum(s, bound)) @ v


def largest_over_inputs(value_and_gradient, m, n, bound, *, starts=4, steps=400):
    """Return the largest value over ‖X‖ ≤ bound, by projected gradient ascent."""
    random = np.random.default_rng(0)
    best = -np.inf
    for _ in range(starts):
        inputs = clipped(random.normal(size=(m, n)) * bound, bound)
        value, gradient = value_and_gradient(inputs)
        rate = bound
        for _ in range(steps):
            size = np.linalg.norm(gradient)
            trial = clipped(inputs + rate * gradient / size, bound) if size else inputs
            tried, slope = value_and_gradient(trial)
            if tried > value:
                inputs, value, gradient, rate = trial, tried, slope, 1.5 * rate
            else:
                rate /= 2
        best = max(best, value)
    return best


def squared_gradient(vector):
    """Return X -> ‖Xᵀg‖² and its gradient in X."""
    return lambda x: (float(vector @ x @ x.T @ vector), 2 * np.outer(vector, x.T @ vector))


@pytest.mark.parametrize("bound", [0.5, 3.0])
@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_theorem_4_4_agrees_with_the_maxima_that_a_search_over_inputs_finds(rest, seed, bound):
    slow = Slow(rest, seed, m=4)
    plain = largest_over_inputs(squared_gradient(slow.g.numpy()), 4, 5, bound)
    normalised = largest_over_inputs(squared_gradient(slow.d.numpy()), 4, 5, bound)
    found = theory.theorem_4_4(slow.unit(), bound)
    mean, correlation = slow.g.mean().item(), (slow.g @ slow.normalised).item()
    gain = slow.gamma**2 / slow.variance
    assert found["left"] == pytest.approx(normalised, rel=1e-6)
    assert found["right"] == pytest.approx(
        gain * (plain - bound**2 * 4 * mean**2 - bound**2 / 4 * correlation**2),
        rel=1e-5,
        abs=1e-6 * gain * plain,
    )
    assert found["error"] < TIGHT
    printed = gain * (plain - 4 * mean**2 - bound**2 * correlation**2)
    assert found["printed"] == pytest.approx(printed, rel=1e-5, abs=1e-6 * gain * plain)
    assert found["printed_slack"] == pytest.approx(printed / normalised - 1, rel=1e-4, abs=1e-5)


def test_theorem_4_4_as_printed_is_violated_by_its_missing_factors():
    slow = Slow("net", 0)
    unit = slow.unit()
    slacks = {bound: theory.theorem_4_4(unit, bound)["printed_slack"] for bound in (0.1, 1.0, 10.0)}
    assert slacks[0.1] < slacks[1.0] < -1e-3
    # Without the correlation the forms differ only by λ² in the term of the mean, so they agree at λ = 1.
    y, *_ = case("net", 3)
    hat = theory.batch_norm(y, gamma=1.0, beta=0.0)
    direction = torch.linspace(0, 1, 7).double()
    direction = direction - hat * (direction @ hat) / 7
    unit = theory.evaluate(y, lambda z: z @ direction, gamma=1.3, beta=0.0)
    assert theory.theorem_4_4(unit, 1.0)["printed_slack"] == pytest.approx(0, abs=1e-12)
    assert theory.theorem_4_4(unit, 0.5)["printed_slack"] < -0.1
    assert theory.theorem_4_4(unit, 2.0)["printed_slack"] > 0.1


# -- Theorem C.1 ----------------------------------------------------------------------------------


def worst_inputs(m, n, bound, seed=0):
    random = torch.Generator().manual_seed(seed)
    return bound * torch.linalg.qr(torch.randn(n, m, generator=random, dtype=torch.float64)).Q.T


@pytest.mark.parametrize("bound", [0.5, 3.0])
@pytest.mark.parametrize(("rest", "seed"), CASES)
def test_theorem_c_1_is_the_form_of_the_full_hessian_in_the_weights(rest, seed, bound):
    slow = Slow(rest, seed)
    x = worst_inputs(7, 9, bound)
    weights = x.T @ slow.y / bound**2
    torch.testing.assert_close(x @ weights, slow.y)

    def loss(w):
        return slow.loss(x @ w)

    gradient = jacobian(loss, weights)
    form = (gradient @ hessian(loss, weights) @ gradient).item()
    unit = slow.unit()
    found = theory.theorem_c_1(unit, bound)
    assert gradient.square().sum().item() == pytest.approx(theory.theorem_4_4(unit, bound)["left"], rel=1e-9)
    assert found["left"] == pytest.approx(form, rel=1e-7)
    dHd, gHg = ((v @ slow.H @ v).item() for v in (slow.d, slow.g))
    size, correlation = (slow.d @ slow.d).item(), (slow.g @ slow.normalised).item()
    kappa = gHg - dHd + correlation * size / (7 * slow.gamma)
    assert found["kappa"] == pytest.approx(kappa, rel=1e-8)
    assert found["right"] == pytest.approx(
        slow.gamma**2 / slow.variance * bound**4 * (gHg - kappa), rel=1e-6, abs=1e-9 * bound**4
    )
    assert found["error"] < 1e-9


def form_over_inputs(matrix, d):
    """Return X -> (XXᵀd)ᵀ H (XXᵀd) and its gradient in X."""

    def value_and_gradient(x):
        v = x @ x.T @ d
        image = matrix @ v
        return float(v @ image), 2 * (np.outer(image, d) + np.outer(d, image)) @ x

    return value_and_gradient


def symmetric(kind, seed, m=3):
    random = np.random.default_rng(seed)
    factor = random.normal(size=(m, m))
    matrix = {"semidefinite": factor[:, :2] @ factor[:, :2].T, "indefinite": factor + factor.T}[kind]
    return matrix, random.normal(size=m)


@pytest.mark.parametrize("bound", [1.0, 1.7])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["semidefinite", "indefinite"])
def test_the_largest_form_is_what_a_search_over_inputs_finds(kind, seed, bound):
    matrix, d = symmetric(kind, seed)
    searched = largest_over_inputs(form_over_inputs(matrix, d), 3, 4, bound, starts=8)
    found = theory.largest_form(torch.tensor(matrix), torch.tensor(d), bound)
    assert found["largest"] == pytest.approx(searched, rel=1e-5, abs=1e-6)
    assert found["at_identity"] == pytest.approx(bound**4 * d @ matrix @ d)
    size = found["largest"] + abs(found["at_identity"])
    assert found["excess"] == pytest.approx((found["largest"] - found["at_identity"]) / size)
    assert found["excess"] > 0.01


def test_the_counterexample_to_theorem_c_1s_maximiser():
    found = theory.largest_form(
        torch.diag(torch.tensor([100.0, 0.0], dtype=torch.float64)), torch.ones(2, dtype=torch.float64), 1.0
    )
    assert found["at_identity"] == pytest.approx(100)
    assert found["largest"] == pytest.approx(145.7, abs=0.05)
    assert found["largest"] == pytest.approx(25 * (1 + math.sqrt(2)) ** 2, rel=1e-12)
    searched = largest_over_inputs(form_over_inputs(np.diag([100.0, 0.0]), np.ones(2)), 2, 2, 1.0)
    assert searched == pytest.approx(found["largest"], rel=1e-6)


def form_of(eigenvalues, d, bound=1.0):
    values = torch.tensor(eigenvalues, dtype=torch.float64)
    return theory.largest_form(torch.diag(values), torch.tensor(d, dtype=torch.float64), bound)


def test_equal_singular_values_are_the_worst_only_along_an_eigenvector_of_at_least_half_the_largest():
    assert form_of([2.0, 2.0, 2.0], [0.3, -1.0, 2.0])["excess"] == pytest.approx(0, abs=1e-12)
    assert form_of([2.0, 1.0, 0.0], [1.0, 0.0, 0.0])["excess"] == pytest.approx(0, abs=1e-12)
    assert form_of([2.0, 1.01, 0.0], [0.0, 1.0, 0.0])["excess"] == pytest.approx(0, abs=1e-9)
    for second in (0.99, 0.3, 0.0, -1.0):
        value = form_of([2.0, second, -3.0], [0.0, 1.0, 0.0])
        angles = np.linspace(0, 2 * np.pi, 200_001)
        brute = (2 * np.sin(angles) ** 2 + second * (1 + np.cos(angles)) ** 2).max() / 4
        assert value["largest"] == pytest.approx(brute, rel=1e-8)
        assert value["excess"] > 1e-5
    assert form_of([-2.0, -1.0], [0.5, 1.0])["largest"] == 0
    assert form_of([0.0, 0.0], [0.5, 1.0]) == {"at_identity": 0, "largest": 0, "excess": 0}


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_form_of_rank_one_has_a_closed_form(seed):
    random = np.random.default_rng(seed)
    h, d = random.normal(size=(2, 5))
    found = theory.largest_form(torch.tensor(np.outer(h, h)), torch.tensor(d), 1.5)
    reach = (abs(h @ d) + np.linalg.norm(h) * np.linalg.norm(d)) / 2
    assert found["largest"] == pytest.approx(1.5**4 * reach**2, rel=1e-10)


# -- Observation 4.3 and Lemma 4.5 ----------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.3])
def test_observation_4_3_gives_back_the_outputs_through_torchs_batch_norm(eps):
    y, *_ = case("net", 4)
    found = theory.observation_4_3(y, eps=eps)
    variance = np.var(y.numpy())
    for name, gamma in (("error", math.sqrt(variance + eps)), ("error_at_sigma", math.sqrt(variance))):
        error = (torchs_batch_norm(y, gamma, y.mean().item(), eps) - y).norm() / y.norm()
        assert found[name] == pytest.approx(error.item(), rel=1e-6, abs=1e-14)
    assert found["error"] < 1e-14
    assert (found["error_at_sigma"] > 1e-7) == (eps > 0)


@pytest.mark.parametrize("seed", range(6))
def test_lemma_4_5_gives_the_closest_point_of_the_line_of_optima(seed):
    random = np.random.default_rng(seed)
    start, optimum = random.normal(size=(2, 3, 2))
    found = theory.lemma_4_5(torch.tensor(start), torch.tensor(optimum))
    closest = optimize.minimize_scalar(lambda k: ((start - k * optimum) ** 2).sum())
    assert found["scale"] == pytest.approx(closest.x, rel=1e-6)
    assert found["left"] == pytest.approx(closest.fun, rel=1e-10)
    size, product = (optimum**2).sum(), (start * optimum).sum()
    right = ((start - optimum) ** 2).sum() - (size - product) ** 2 / size
    assert found["right"] == pytest.approx(right, rel=1e-10)
    assert found["error"] < TIGHT
    assert found["premise"] == (product > 0) == (found["scale"] > 0)


# -- eigenvalues ----------------------------------------------------------------------------------


def lanczos(matrix, products):
    start = torch.randn(len(matrix), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    extremes = _lanczos.extreme_eigenvalues(lambda v: matrix @ v, start, products=products)
    return theory.definiteness(*extremes)


@pytest.mark.parametrize("kind", ["semidefinite", "indefinite"])
def test_lanczos_finds_the_ends_of_the_spectrum_and_with_few_steps_stays_within(kind):
    matrix = torch.tensor(symmetric(kind, 0, m=40)[0])
    values = torch.linalg.eigvalsh(matrix)
    full = lanczos(matrix, 100)
    assert full["min_eigenvalue"] == pytest.approx(values[0].item(), abs=1e-10)
    assert full["max_eigenvalue"] == pytest.approx(values[-1].item(), rel=1e-12)
    assert full["semidefinite"] == (kind == "semidefinite")
    few = lanczos(matrix, 3)
    assert values[0] - 1e-10 <= few["min_eigenvalue"]
    assert few["max_eigenvalue"] <= values[-1] + 1e-10


@pytest.mark.parametrize("value", [2.0, 0.0, -2.0])
def test_lanczos_stops_on_a_multiple_of_the_identity(value):
    found = lanczos(value * torch.eye(5, dtype=torch.float64), 5)
    assert (found["min_eigenvalue"], found["max_eigenvalue"]) == pytest.approx((value, value))
    assert found["semidefinite"] == (value >= 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["semidefinite", "indefinite"])
def test_definiteness_is_the_sign_of_all_forms(kind, seed):
    """A matrix of rank 2 has eigenvalues that are 0 up to rounding: it is semi-definite."""
    matrix = symmetric(kind, seed, m=6)[0]
    values = np.linalg.eigvalsh(matrix)
    found = theory.definiteness(values[0], values[-1])
    vectors = np.random.default_rng(seed).normal(size=(20_000, 6))
    forms = np.einsum("ni,ij,nj->n", vectors, matrix, vectors) / (vectors**2).sum(1)
    assert found == {
        "min_eigenvalue": values[0],
        "max_eigenvalue": values[-1],
        "semidefinite": float(forms.min() >= -1e-9),
    }
    assert found["semidefinite"] == (kind == "semidefinite")
    negated = theory.definiteness(-values[-1], -values[0])
    assert negated["semidefinite"] == 0


@pytest.mark.parametrize(
    ("low", "high", "semidefinite"),
    [(0.0, 0.0, 1), (-1e-13, 1.0, 1), (-1e-11, 1.0, 0), (-1e-11, 100.0, 1), (-1e-300, 0.0, 0), (0.5, 2.0, 1)],
)
def test_definiteness_allows_rounding_relative_to_the_larger_eigenvalue(low, high, semidefinite):
    assert theory.definiteness(low, high)["semidefinite"] == semidefinite


# -- random layers, and the table -----------------------------------------------------------------


@pytest.fixture(scope="module")
def random_table():
    return random_layers.random_layers(draws=24, seed=3)


def test_random_layers_are_a_function_of_the_seed(random_table):
    pd.testing.assert_frame_equal(random_table, random_layers.random_layers(draws=24, seed=3))
    other = random_layers.random_layers(draws=4, seed=4)
    assert not set(other["gamma"]) & set(random_table["gamma"])


def test_on_random_layers_identities_hold_and_the_printed_theorem_4_4_does_not(random_table):
    exact = random_table[random_table["eps"] == 0]
    assert exact.groupby("theorem").size().to_dict() == dict.fromkeys(
        ["thm4.1", "thm4.2", "thm4.4", "thmC.1", "obs4.3", "lem4.5"], 24
    )
    assert exact["error"].max() < 1e-9
    assert exact["attained_error"].max() < 1e-9
    assert exact.loc[exact["premise"] == 1, "invariance_error"].max() < 1e-9
    printed = exact["printed_slack"].dropna()
    assert (printed < -1e-3).mean() > 0.5
    definite = exact[exact["theorem"] == "thmC.1"].groupby("loss")["semidefinite"].mean()
    assert definite.to_dict() == {"convex": 1, "relu_net": 1, "nonconvex": 0, "bn_net": 0}
    assert (exact.loc[exact["semidefinite"] == 1, "excess"].dropna() > 1e-3).all()
    in_use = random_table[random_table["eps"] > 0]
    assert set(in_use["theorem"]) == {"thm4.1", "thm4.2", "obs4.3"}
    assert (in_use.loc[in_use["theorem"] == "thm4.1", "slack"] >= -1e-15).all()


def test_the_table_counts_errors_violations_and_premises_in_each_group(random_table):
    shares = [0.1, 0.2, 0.6]
    probe = pd.DataFrame(
        {
            "condition": "c",
            "thm4.1_error": [1e-16, 3e-16, 1e-8],
            "thm4.1_mean_share": shares,
            "thm4.2_premise": [1.0, 0.0, 1.0],
            "thm4.2_bound_slack": [0.5, -0.25, -1e-12],
            "thm4.4_printed_slack": [-0.5, -1.5, 0.5],
        }
    )
    table = theorem_table.summarise(random_table, [probe[:2], probe[2:]])
    of_probe = table[table["where"] == "c"].set_index("statement").dropna(axis="columns", how="all")

    def numbers(statement):
        return of_probe.loc[statement].dropna().drop("where").to_dict()

    assert numbers("Theorem 4.1, as an equality at eps = 0") == pytest.approx(
        {"n": 3, "median_error": 3e-16, "max_error": 1e-8, "violated": 1 / 3}
    )
    assert numbers("Theorem 4.1: taken away by the mean of g") == {"n": 3, "median_share": 0.2}
    assert numbers("Theorem 4.2, premise: d'Hd at most g'Hg") == pytest.approx({"n": 3, "holds": 2 / 3})
    assert numbers("Theorem 4.2, second part, given its premise") == {
        "n": 2,
        "median_error": 5e-13,
        "max_error": 1e-12,
        "violated": 0,
    }
    assert numbers("Theorem 4.2, second part, always")["violated"] == pytest.approx(1 / 3)
    assert numbers("Theorem 4.4, as printed") == pytest.approx(
        {"n": 3, "median_error": 0.5, "max_error": 1.5, "violated": 2 / 3}
    )
    # A statement without a column in the probe's table has no row. The random layers have every statement.
    assert len(of_probe) == 6
    of_random = table[table["where"] == "random layers"].set_index("statement")
    assert len(of_random) == len(theorem_table.STATEMENTS)
    exact = random_table[(random_table["theorem"] == "thm4.2") & (random_table["eps"] == 0)]
    assert of_random.loc["Theorem 4.2, premise: d'Hd at most g'Hg", "holds"] == exact["premise"].mean()


def test_both_stages_from_the_command_line(tmp_path):
    random, table = tmp_path / "random.csv", tmp_path / "table.csv"
    random_layers.main(["--settings", '{"draws": 4, "seed": 0}', "--table", str(random)])
    no_runs = ["--settings", '{"conditions": [], "seeds": []}', "--probes", "none"]
    theorem_table.main([*no_runs, "--random", str(random), "--table", str(table)])
    written = pd.read_csv(table)
    direct = theorem_table.summarise(random_layers.random_layers(draws=4, seed=0), [])
    pd.testing.assert_frame_equal(written, direct, check_dtype=False)
