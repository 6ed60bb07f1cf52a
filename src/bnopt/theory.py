"""The paper's theorems (Section 4 and Appendix C) as functions of one unit of a linear layer.

Everything is computed in float64, by automatic differentiation through the formula of batch
normalisation. Notation for one unit over a batch of m values (in convolutions: samples × positions):

    y (m,)       outputs of the unit, with mean μ and variance σ²
    ŷ            (y − μ) / √(σ² + ε); ε = 0 unless stated otherwise
    z            γ ŷ + β, the values that the rest of the net sees
    rest         z -> scalar loss; everything else in the net is held fixed
    g, H         gradient and Hessian of `rest` at z: those of the loss L of a net without BN that sees
                 the same values
    d, A         gradient and Hessian in y of L̂ = rest(γ ŷ(y) + β), the loss with BN

At ε = 0 most theorems are identities. The function of a theorem returns plain floats: both sides (`left`,
`right`), their distance (`error`, `slack`; see `compare`), and the terms of the theorem.

Let P = I − 11ᵀ/m − ŷŷᵀ/m; at ε = 0 it projects onto the complement of 1 and ŷ. All derivations use

    ∂ŷ/∂y = P / √(σ² + ε)      and hence      d = γ P g / √(σ² + ε),

which follow from ∂√(σ² + ε)/∂y = ŷ/m.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy import optimize

# Relative rounding error of sums in float64: for premises. Identities use `verdicts.TOLERANCE`.
ROUNDING = 1e-12


class Unit(NamedTuple):
    """The values of one unit that the theorems use; the top of this file explains the symbols.

    gamma, variance, eps       γ, σ² + ε, ε
    normalised                 ŷ (m,)
    gradient                   g (m,)
    curved_gradient            Hg (m,)
    output_gradient            d (m,)
    gradient_form              gᵀHg
    output_gradient_form       dᵀHd
    output_form                dᵀAd
    hessian_product            v -> Hv
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
    """Return γ (y − μ) / √(σ² + ε) + β by elementary operations; μ and σ² are those of the entries of y."""
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
    """Return the Unit with outputs y (m,) and with BN of scale γ and offset β before `rest`.

    g and H are derivatives in z. d and A are computed independently of them, as derivatives in y through
    batch normalisation. Costs two forward and backward passes of `rest` and three Hessian products.
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
    """Return both sides of a theorem and their distance.

    left, right     the two sides
    error           |right − left| / max(|left|, |right|), for equalities
    slack           (right − left) / (|left| + |right|), for inequalities: between −1 and 1, and ±1 if the
                    signs of the sides differ

    If both sides are 0, error and slack are 0.
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
    """Return how much BN reduces the gradient (Theorem 4.1).

    ‖d‖² ≤ (γ²/σ²) (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m), an identity at ε = 0.

    Proof: d = γPg/σ, and P projects out the orthogonal vectors 1 and ŷ, both of squared length m.

    At ε > 0, σ² + ε replaces σ² everywhere and ‖ŷ‖² = mσ²/(σ² + ε). Then ‖Pg‖² subtracts the last term
    (1 + ε/(σ² + ε)) times instead of once, so the right side exceeds the left by ε/(σ² + ε) of that term.

    slack               distance of the two sides of the theorem
    error               distance of the left side from the right side with this correction
    mean_share          ⟨1, g⟩²/m divided by ‖g‖², from 0 to 1
    correlation_share   ⟨g, ŷ⟩²/m divided by ‖g‖², from 0 to 1
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
    """Return the curvature along the gradient with BN, compared with that without (Theorem 4.2).

    First part: dᵀAd ≤ (γ²/σ²) dᵀHd − (γ/(mσ²)) ⟨g, ŷ⟩ ‖d‖², an identity at ε = 0.
    Second part: if dᵀHd ≤ gᵀHg, then dᵀAd ≤ (γ²/σ²) (gᵀHg − ⟨g, ŷ⟩ ‖d‖² / (mγ)).

    Proof: differentiate d = γPg/σ along d. Since d is orthogonal to 1 and ŷ, the derivatives are 0 of σ,
    d/σ of ŷ, γd/σ of z, γHd/σ of g, and −(dŷᵀ + ŷdᵀ)/(mσ) of P. Multiply from the left by dᵀ and use
    dᵀP = dᵀ and dᵀŷ = 0. At ε > 0, σ² + ε replaces σ², and dᵀŷ and the error of the identity are of the
    order of ε. The right side of the second part exceeds that of the first by (γ²/σ²) (gᵀHg − dᵀHd).

    left, right, error, slack     of the first part
    bound, bound_slack            right side and slack of the second part
    premise                       1 if dᵀHd ≤ gᵀHg, else 0
    projected_premise             the premise with Pg = σd/γ in place of d: independent of the size of γ/σ
    positive_correlation          1 if ⟨g, ŷ⟩ ≥ 0, else 0
    positive_form                 1 if gᵀHg ≥ 0, else 0
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
    """Return the largest gradient of the weights with BN, compared with that without (Theorem 4.4).

    Let X (m, n) be the layer's inputs, with spectral norm ‖X‖ ≤ λ = bound, and let y, ŷ, σ and g be
    fixed. Let g_j and ĝ_j be the maxima over X of ‖Xᵀg‖² and ‖Xᵀd‖², the squared lengths of the gradients
    of the weights without and with BN. Then

        ĝ_j = (γ²/σ²) (g_j − λ² m mean(g)² − (λ²/m) ⟨g, ŷ⟩²),      at ε = 0.

    Proof: the maxima are λ²‖g‖² and λ²‖d‖². If n ≥ m, both are attained at XXᵀ = λ²I; one of them is
    also attained at any X whose largest left singular vectors span its gradient. So this is Theorem 4.1
    times λ².

    The paper (v3) prints the upper bound (γ²/σ²) (g_j − m mean(g)² − λ² ⟨g, ŷ⟩²). It lacks the factor λ²
    in one term and 1/m in the other.

    left, right, error, slack     of the corrected equation
    printed                       value of the printed bound
    printed_slack                 (printed − ĝ_j) / ĝ_j: below 0 if the printed bound is violated, below −1
                                  if it is negative
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

    At ε = 0 and at inputs with XXᵀ = λ²I, λ = bound, the gradient of the weights is Xᵀd and their Hessian
    is XᵀAX. The first part of Theorem 4.2 then gives

        (Xᵀd)ᵀ XᵀAX (Xᵀd) = λ⁴ dᵀAd = (γ²/σ²) λ⁴ (gᵀHg − κ),
        κ = gᵀHg − dᵀHd + ⟨g, ŷ⟩ ‖d‖² / (mγ).

    γ must not be 0. kappa: κ.

    The paper states that this X has the largest form; `largest_form` shows that it does not.
    """
    d, m = unit.output_gradient, len(unit.gradient)
    correlation = (unit.gradient @ unit.normalised).item() * (d @ d).item() / (m * unit.gamma)
    kappa = unit.gradient_form - unit.output_gradient_form + correlation
    left = bound**4 * unit.output_form
    right = unit.gamma**2 / unit.variance * bound**4 * (unit.gradient_form - kappa)
    return compare(left, right) | {"kappa": kappa}


def largest_form(hessian, direction, bound):
    """Return the largest curvature over inputs and that at XXᵀ = λ²I (the gap in Theorem C.1).

    The form is (XXᵀd)ᵀ H (XXᵀd), for a symmetric hessian H (m, m) and a direction d (m,). It is maximised
    over ‖X‖ ≤ λ = bound. At XXᵀ = λ²I it is λ⁴dᵀHd, which Theorem C.1 states to be the maximum.

    Derivation: S = XXᵀ takes all values 0 ⪯ S ⪯ λ²I. Then v = Sd takes all values in the ball whose
    diameter runs from 0 to λ²d: S² ⪯ λ²S gives ‖v‖² ≤ λ²⟨v, d⟩, and S = vvᵀ/⟨v, d⟩ attains every such v.
    So the maximum is that of vᵀHv over a ball with centre c = λ²d/2 and radius r = ‖c‖. There
    v = c + w with Hv = τw and ‖w‖ = r, and τ is at least 0 and at least the largest eigenvalue of H; τ is
    the root of a decreasing function. v = λ²d is a solution only if d is an eigenvector whose eigenvalue
    is at least half the largest.

    Example: H = diag(100, 0), d = (1, 1), λ = 1 gives 100 at XXᵀ = I, but 25 (1 + √2)² = 145.7 at the
    maximum.

    at_identity   the form at XXᵀ = λ²I
    largest       the largest form
    excess        their slack: 0 if they agree, 1 if the form is not positive at XXᵀ = λ²I
    """
    values, vectors = torch.linalg.eigh(hessian)
    centre = bound**2 * (vectors.T @ direction) / 2
    at_identity = 4 * (values * centre.square()).sum().item()
    largest = max(at_identity, 0.0, *(_form(values, v) for v in _stationary(values, centre)))
    return {"at_identity": at_identity, "largest": largest, "excess": compare(at_identity, largest)["slack"]}


def observation_4_3(y, *, eps=0.0):
    """Return how exactly γ and β can undo BN (Observation 4.3).

    For any y that varies, γ = √(σ² + ε) and β = μ give γŷ + β = y.

    error             ‖z − y‖ / ‖y‖
    error_at_sigma    the same with γ = σ, which is exact only at ε = 0
    """
    y = y.detach().double()
    variance, beta = y.var(correction=0), y.mean()

    def error(gamma):
        return ((batch_norm(y, gamma=gamma, beta=beta, eps=eps) - y).norm() / y.norm()).item()

    return {"error": error((variance + eps).sqrt()), "error_at_sigma": error(variance.sqrt())}


def lemma_4_5(start, optimum):
    """Return the distance to the closest optimum if the scale of the weights has no effect (Lemma 4.5).

    If ⟨W₀, W*⟩ > 0, then ‖W₀ − Ŵ*‖² ≤ ‖W₀ − W*‖² − (‖W*‖² − ⟨W*, W₀⟩)² / ‖W*‖². Equality holds for
    Ŵ* = kW* with k = ⟨W*, W₀⟩ / ‖W*‖² > 0, which gives the same outputs as W* after BN.

    Proof: Ŵ* is the foot of the perpendicular from W₀ to the line through W*, so Pythagoras applies with
    ‖Ŵ* − W*‖² = (k − 1)² ‖W*‖².

    start, optimum: W₀ and W*, of the same shape.

    premise    1 if ⟨W₀, W*⟩ > 0, else 0
    scale      k
    """
    start, optimum = start.detach().double().flatten(), optimum.detach().double().flatten()
    product, size = (start @ optimum).item(), (optimum @ optimum).item()
    scale = product / size
    left = (start - scale * optimum).square().sum().item()
    right = (start - optimum).square().sum().item() - (size - product) ** 2 / size
    return compare(left, right) | {"premise": float(product > 0), "scale": scale}


# -- premises -------------------------------------------------------------------------------------


def definiteness(low, high):
    """Return whether a symmetric matrix H is positive semi-definite, given its extreme eigenvalues.

    min_eigenvalue, max_eigenvalue    low and high
    semidefinite                      1.0 if low is at least 0 up to rounding, else 0.0

    low and high may be Ritz values (`probes/_lanczos.py`), which lie within the spectrum. A negative
    Ritz value proves that H is indefinite. The absence of one proves nothing if there are fewer Ritz
    values than dimensions of H.
    """
    return {
        "min_eigenvalue": low,
        "max_eigenvalue": high,
        "semidefinite": _not_more(0.0, low, size=max(abs(low), abs(high))),
    }


def _not_more(a, b, *, size=None):
    """Return 1.0 if a ≤ b up to rounding relative to `size`, else 0.0; size: by default the larger one's."""
    size = max(abs(a), abs(b)) if size is None else size
    return float(a <= b + ROUNDING * size)


def _size(a, b):
    """Return ‖a‖ ‖b‖, the largest possible ⟨a, b⟩."""
    return a.norm().item() * b.norm().item()


def _form(values, v):
    """Return vᵀ diag(values) v."""
    return (values * v.square()).sum().item()


def _stationary(values, centre):
    """Return the points v = c + w with ‖w‖ = ‖c‖ at which vᵀ diag(values) v can be largest; centre: c."""
    radius = centre.norm().item()
    top = max(values.max().item(), 0.0)
    pull = values * centre

    def reach(tau):
        return (pull / (tau - values)).norm().item() - radius

    # Just above the largest eigenvalue w is long, unless c is orthogonal to its eigenvector.
    low = top + 1e-13 * (values.abs().max().item() or 1.0)
    high = low + pull.norm().item() / (radius or 1.0)
    if reach(low) > 0:
        tau = optimize.brentq(reach, low, high, xtol=1e-15 * high, rtol=1e-14)
        return [centre + pull / (tau - values)]
    w = torch.where(values < top, pull / (low - values), 0.0)
    missing = math.sqrt(max(radius**2 - w.square().sum().item(), 0.0))
    along = torch.zeros_like(w)
    along[-1] = missing  # eigh sorts the eigenvalues in ascending order
    return [centre + w + along, centre + w - along]
