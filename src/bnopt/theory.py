"""The paper's theorems (Section 4 and Appendix C) as functions of one unit of a linear layer.

All in float64, by automatic differentiation through the formula of batch normalisation. For a unit j
over a batch of m values (in convolutions: samples and positions),

    y (m,)       its outputs, with mean μ and variance σ²; ε = 0 unless said otherwise
    ŷ            (y − μ) / √(σ² + ε)
    z            γ ŷ + β, what the rest of the net sees
    rest         z -> scalar loss, everything else in the net held fixed
    g, H         gradient and Hessian of `rest` at z: those of the loss L of a net without BN that sees
                 the same values
    d, A         gradient and Hessian in y of L̂ = rest(γ ŷ(y) + β), the loss with BN

At ε = 0 most theorems are identities. A theorem's function returns plain floats: both sides (`left`,
`right`), how far they are apart (`error`, `slack`; see `compare`), and its terms. With
P = I − 11ᵀ/m − ŷŷᵀ/m, which at ε = 0 projects onto the complement of 1 and ŷ, everything rests on

    ∂ŷ/∂y = P / √(σ² + ε)      hence      d = γ P g / √(σ² + ε),

because ∂√(σ² + ε)/∂y = ŷ/m.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy import optimize

# What float64 sums leave of two equal numbers, relative to their size: for premises, not identities.
ROUNDING = 1e-12


class Unit(NamedTuple):
    """What the theorems need to know of one unit: see the top of this file.

    normalised ŷ, gradient g, curved_gradient Hg, output_gradient d: (m,); variance: σ² + ε;
    gradient_form gᵀHg, output_gradient_form dᵀHd, output_form dᵀAd; hessian_product: v -> Hv.
    """

    gamma: float
    variance: float
    eps: float
    normalised: torch.Tensor
    gradient: torch.Tensor
    curved_gradient: torch.Tensor
    output_gradient: torch.Tensor
    gradient_form: float
    output_gradient_form: float
    output_form: float
    hessian_product: Callable


def batch_norm(y, *, gamma, beta, eps=0.0):
    """Return γ (y − μ) / √(σ² + ε) + β over the entries of y, by elementary operations."""
    centred = y - y.mean()
    return gamma * centred / (centred.square().mean() + eps).sqrt() + beta


def differentiate(function, at):
    """Return the gradient of a scalar function and its Hessian as a function v -> Hv."""
    at = at.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at), at, create_graph=True)

    def product(v):
        if not gradient.requires_grad:  # the function is linear
            return torch.zeros_like(at)
        return torch.autograd.grad(gradient, at, v, retain_graph=True, materialize_grads=True)[0]

    return gradient.detach(), product


def evaluate(y, rest, *, gamma, beta, eps=0.0):
    """Return the Unit with outputs y (m,), scale γ and shift β before `rest`.

    g and H are taken at z; d and A separately, through batch normalisation, in y. Costs two forward
    passes of `rest`, each with its backward pass, and three Hessian products.
    """
    y = y.detach().double()
    gradient, hessian = differentiate(rest, batch_norm(y, gamma=gamma, beta=beta, eps=eps))
    output_gradient, output_hessian = differentiate(
        lambda y: rest(batch_norm(y, gamma=gamma, beta=beta, eps=eps)), y
    )
    curved_gradient = hessian(gradient)
    return Unit(
        gamma=float(gamma),
        variance=y.var(correction=0).item() + eps,
        eps=eps,
        normalised=batch_norm(y, gamma=1.0, beta=0.0, eps=eps),
        gradient=gradient,
        curved_gradient=curved_gradient,
        output_gradient=output_gradient,
        gradient_form=(gradient @ curved_gradient).item(),
        output_gradient_form=(output_gradient @ hessian(output_gradient)).item(),
        output_form=(output_gradient @ output_hessian(output_gradient)).item(),
        hessian_product=hessian,
    )


def compare(left, right):
    """Return both sides and how far they are apart; 0 for 0 = 0.

    error: |right − left| / max(|left|, |right|), for equalities; slack, for inequalities:
    (right − left) / (|left| + |right|), from −1 to 1, and ±1 where the signs differ.
    """
    difference, largest = right - left, max(abs(left), abs(right))
    return {
        "left": left,
        "right": right,
        "error": abs(difference) / largest if largest else 0.0,
        "slack": difference / (abs(left) + abs(right)) if largest else 0.0,
    }


# -- the theorems ---------------------------------------------------------------------------------


def theorem_4_1(unit):
    """Return how much smaller the gradient is with BN (Theorem 4.1).

    ‖d‖² ≤ (γ²/σ²) (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m), an identity at ε = 0.

    d = γPg/σ, and P projects away the orthogonal vectors 1 and ŷ, both of squared length m. At ε > 0,
    with σ² + ε for σ² throughout, ‖ŷ‖² = mσ²/(σ² + ε), so that ‖Pg‖² has the last term
    (1 + ε/(σ² + ε)) times: the right side exceeds the left by that much. `slack` compares the two
    sides of the theorem, `error` the left side with the right one so corrected.
    mean_share, correlation_share: of ‖g‖², what the two subtracted terms are, from 0 to 1.
    """
    g, m = unit.gradient, len(unit.gradient)
    size = (g @ g).item()
    mean_term = g.sum().item() ** 2 / m
    correlation_term = (g @ unit.normalised).item() ** 2 / m
    gain = unit.gamma**2 / unit.variance
    left = (unit.output_gradient @ unit.output_gradient).item()
    right = gain * (size - mean_term - correlation_term)
    exact = right - gain * correlation_term * unit.eps / unit.variance
    return compare(left, right) | {
        "error": compare(left, exact)["error"],
        "mean_share": mean_term / size if size else math.nan,
        "correlation_share": correlation_term / size if size else math.nan,
    }


def theorem_4_2(unit):
    """Return the curvature along the gradient with BN against that without (Theorem 4.2).

    First part: dᵀAd ≤ (γ²/σ²) dᵀHd − (γ/(mσ²)) ⟨g, ŷ⟩ ‖d‖², an identity at ε = 0.
    Second part: if dᵀHd ≤ gᵀHg, then dᵀAd ≤ (γ²/σ²) (gᵀHg − ⟨g, ŷ⟩ ‖d‖² / (mγ)).

    Differentiate d = γPg/σ along d. As d is orthogonal to 1 and ŷ, σ does not move, ŷ moves by d/σ, z
    by γd/σ, g by γHd/σ and P by −(dŷᵀ + ŷdᵀ)/(mσ); multiply by dᵀ, where dᵀP = dᵀ and dᵀŷ = 0. At
    ε > 0 (σ² + ε for σ²) dᵀŷ is of the order of ε, and the identity bends as much.
    The second bound exceeds the first by (γ²/σ²) (gᵀHg − dᵀHd). bound, bound_slack: its right side
    and slack; premise: whether dᵀHd ≤ gᵀHg, projected_premise: the same of Pg = σd/γ, free of the size
    of γ/σ; positive_correlation: ⟨g, ŷ⟩ ≥ 0; positive_form: gᵀHg ≥ 0; 0 or 1.
    """
    d, m = unit.output_gradient, len(unit.gradient)
    gain = unit.gamma**2 / unit.variance
    correlation = (unit.gradient @ unit.normalised).item()
    reduction = unit.gamma / (m * unit.variance) * correlation * (d @ d).item()
    first = gain * unit.output_gradient_form - reduction
    second = gain * unit.gradient_form - reduction
    bounded = compare(unit.output_form, second)
    return compare(unit.output_form, first) | {
        "bound": bounded["right"],
        "bound_slack": bounded["slack"],
        "premise": _not_more(unit.output_gradient_form, unit.gradient_form),
        "projected_premise": _not_more(unit.output_gradient_form, gain * unit.gradient_form),
        "positive_correlation": float(correlation >= 0),
        "positive_form": _not_more(0.0, unit.gradient_form, size=_size(unit.gradient, unit.curved_gradient)),
    }


def theorem_4_4(unit, bound):
    """Return the largest gradient of the weights with BN against that without (Theorem 4.4).

    With X (m, n) the layer's inputs, of spectral norm ‖X‖ ≤ λ = bound, and y, ŷ, σ, g held fixed, let
    g_j and ĝ_j be the maxima over X of ‖Xᵀg‖² and ‖Xᵀd‖², the squared gradients of the weights. Then

        ĝ_j = (γ²/σ²) (g_j − λ² m mean(g)² − (λ²/m) ⟨g, ŷ⟩²),      at ε = 0.

    The maxima are λ²‖g‖² and λ²‖d‖², both attained where XXᵀ = λ²I (which needs n ≥ m; any X whose
    largest left singular vectors contain the gradient does for one of them), so this is Theorem 4.1
    times λ². Printed (v3) is, for an upper bound, (γ²/σ²) (g_j − m mean(g)² − λ² ⟨g, ŷ⟩²): it lacks
    λ² on one term and 1/m on the other, and is violated where printed_slack < 0.
    printed: its value; printed_slack: (printed − ĝ_j) / ĝ_j, below −1 where this bound is negative.
    """
    g, m = unit.gradient, len(unit.gradient)
    gain = unit.gamma**2 / unit.variance
    mean_term = m * g.mean().item() ** 2
    correlation_term = (g @ unit.normalised).item() ** 2
    plain = bound**2 * (g @ g).item()
    normalised = bound**2 * (unit.output_gradient @ unit.output_gradient).item()
    right = gain * (plain - bound**2 * mean_term - bound**2 / m * correlation_term)
    printed = gain * (plain - mean_term - bound**2 * correlation_term)
    slack = (printed - normalised) / normalised if normalised else math.nan
    return compare(normalised, right) | {"printed": printed, "printed_slack": slack}


def theorem_c_1(unit, bound):
    """Return the curvature of the loss in the weights along their gradient (Theorem C.1).

    Where XXᵀ = λ²I, λ = bound, and at ε = 0, the gradient of the weights is Xᵀd, their Hessian XᵀAX,
    and (Xᵀd)ᵀ XᵀAX (Xᵀd) = λ⁴ dᵀAd = (γ²/σ²) λ⁴ (gᵀHg − κ) with
    κ = gᵀHg − dᵀHd + ⟨g, ŷ⟩ ‖d‖² / (mγ): Theorem 4.2's first part. γ must not be 0.

    The paper takes this X for the one with the largest form; `largest_form` shows that it is not.
    """
    d, m = unit.output_gradient, len(unit.gradient)
    correlation = (unit.gradient @ unit.normalised).item() * (d @ d).item() / (m * unit.gamma)
    kappa = unit.gradient_form - unit.output_gradient_form + correlation
    left = bound**4 * unit.output_form
    right = unit.gamma**2 / unit.variance * bound**4 * (unit.gradient_form - kappa)
    return compare(left, right) | {"kappa": kappa}


def largest_form(hessian, direction, bound):
    """Return the largest curvature over inputs, against that at XXᵀ = λ²I (the gap in Theorem C.1).

    Maximised over ‖X‖ ≤ λ = bound: (XXᵀd)ᵀ H (XXᵀd) for a symmetric hessian H (m, m) and a direction
    d (m,). At XXᵀ = λ²I it is λ⁴dᵀHd, which Theorem C.1 takes for the maximum.

    S = XXᵀ runs over 0 ⪯ S ⪯ λ²I, and v = Sd over the ball with diameter from 0 to λ²d: S² ⪯ λ²S gives
    ‖v‖² ≤ λ²⟨v, d⟩, and S = vvᵀ/⟨v, d⟩ reaches every v with that. So the maximum is that of vᵀHv over
    a ball of centre c = λ²d/2 and radius r = ‖c‖: v = c + w with Hv = τw, ‖w‖ = r and τ at least the
    largest eigenvalue of H and 0; τ is the root of a decreasing function. v = λ²d solves this only if
    d is an eigenvector whose eigenvalue is at least half the largest.

    For H = diag(100, 0), d = (1, 1), λ = 1: 100 at XXᵀ = I, 25 (1 + √2)² = 145.7 at the maximum.
    at_identity, largest: the two; excess: the slack between them, 0 where they agree, 1 where the form
    is not positive at XXᵀ = λ²I.
    """
    values, vectors = torch.linalg.eigh(hessian)
    centre = bound**2 * (vectors.T @ direction) / 2
    at_identity = 4 * (values * centre.square()).sum().item()
    largest = max(at_identity, 0.0, *(_form(values, v) for v in _stationary(values, centre)))
    return {"at_identity": at_identity, "largest": largest, "excess": compare(at_identity, largest)["slack"]}


def observation_4_3(y, *, eps=0.0):
    """Return how well BN can be undone (Observation 4.3).

    γ = √(σ² + ε) and β = μ give γŷ + β = y for any y that varies. error: ‖z − y‖ / ‖y‖;
    error_at_sigma: the same with γ = σ, exact only at ε = 0.
    """
    y = y.detach().double()
    variance, beta = y.var(correction=0), y.mean()

    def error(gamma):
        return ((batch_norm(y, gamma=gamma, beta=beta, eps=eps) - y).norm() / y.norm()).item()

    return {"error": error((variance + eps).sqrt()), "error_at_sigma": error(variance.sqrt())}


def lemma_4_5(start, optimum):
    """Return how near the closest optimum is when scaling the weights changes nothing (Lemma 4.5).

    If ⟨W₀, W*⟩ > 0, then ‖W₀ − Ŵ*‖² ≤ ‖W₀ − W*‖² − (‖W*‖² − ⟨W*, W₀⟩)² / ‖W*‖², with equality for
    Ŵ* = kW*, k = ⟨W*, W₀⟩ / ‖W*‖² > 0, which gives the same outputs as W* after BN.

    Ŵ* is the foot of the perpendicular from W₀ on the line through W*: Pythagoras with
    ‖Ŵ* − W*‖² = (k − 1)² ‖W*‖². start, optimum: W₀ and W* of any one shape; premise: whether
    ⟨W₀, W*⟩ > 0; scale: k.
    """
    start, optimum = start.detach().double().flatten(), optimum.detach().double().flatten()
    product, size = (start @ optimum).item(), (optimum @ optimum).item()
    scale = product / size
    left = (start - scale * optimum).square().sum().item()
    right = (start - optimum).square().sum().item() - (size - product) ** 2 / size
    return compare(left, right) | {"premise": float(product > 0), "scale": scale}


# -- premises -------------------------------------------------------------------------------------


def definiteness(low, high):
    """Return whether H is positive semi-definite, from its extreme eigenvalues.

    min_eigenvalue, max_eigenvalue; semidefinite: 1.0 if the first is not below 0 but for rounding, else 0.0.
    From Ritz values (`extreme_eigenvalues`), which lie within the spectrum, a negative one proves that H
    is indefinite; that there is none proves nothing while they are fewer than the dimensions of H.
    """
    return {
        "min_eigenvalue": low,
        "max_eigenvalue": high,
        "semidefinite": _not_more(0.0, low, size=max(abs(low), abs(high))),
    }


def extreme_eigenvalues(product, start, *, products):
    """Return the smallest and largest Ritz value of a symmetric map v -> Hv (Lanczos, 1950).

    At most `products` maps; every new basis vector is orthogonalised against all before, twice.
    """
    basis = [start.double() / start.double().norm()]
    diagonal, beside = [], []
    for _ in range(min(products, len(start))):
        image = product(basis[-1])
        diagonal.append((basis[-1] @ image).item())
        size = image.norm().item()
        kept = torch.stack(basis)
        for _ in range(2):
            image = image - kept.T @ (kept @ image)
        beside.append(image.norm().item())
        if beside[-1] <= ROUNDING * size:  # the basis spans an invariant space
            break
        basis.append(image / beside[-1])
    off = torch.tensor(beside[: len(diagonal) - 1], dtype=torch.float64)
    ritz = torch.linalg.eigvalsh(
        torch.diag(torch.tensor(diagonal, dtype=torch.float64)) + torch.diag(off, 1) + torch.diag(off, -1)
    )
    return ritz[0].item(), ritz[-1].item()


def _not_more(a, b, *, size=None):
    """Return 1.0 if a ≤ b but for rounding relative to `size`, else 0.0."""
    size = max(abs(a), abs(b)) if size is None else size
    return float(a <= b + ROUNDING * size)


def _size(a, b):
    return a.norm().item() * b.norm().item()


def _form(values, v):
    return (values * v.square()).sum().item()


def _stationary(values, centre):
    """Return the points c + w of the sphere ‖w‖ = ‖c‖ that may maximise vᵀ diag(values) v."""
    radius = centre.norm().item()
    top = max(values.max().item(), 0.0)
    pull = values * centre

    def reach(tau):
        return (pull / (tau - values)).norm().item() - radius

    # Just above the largest eigenvalue w is long, unless c has nothing along its eigenvector.
    low = top + 1e-13 * (values.abs().max().item() or 1.0)
    high = low + pull.norm().item() / (radius or 1.0)
    if reach(low) > 0:
        tau = optimize.brentq(reach, low, high, xtol=1e-15 * high, rtol=1e-14)
        return [centre + pull / (tau - values)]
    w = torch.where(values < top, pull / (low - values), 0.0)
    missing = math.sqrt(max(radius**2 - w.square().sum().item(), 0.0))
    along = torch.zeros_like(w)
    along[-1] = missing  # eigh sorts eigenvalues
    return [centre + w + along, centre + w - along]
