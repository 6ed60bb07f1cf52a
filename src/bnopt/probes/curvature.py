"""The curvature of the loss: ends of the Hessian's spectrum, and its forms along the gradient.

Gradient descent at learning rate lr is stable where the curvature is below 2/lr. It tends to raise the
largest eigenvalue to 2/lr and to keep it there: the edge of stability (Cohen et al., 2021).
"""

import torch

from bnopt.probes import _lanczos, _phases
from bnopt.run import streams
from bnopt.run.vectors import flat, parts


def measure(point, *, every, phases, products, draws):
    """Return one row per phase at every `every`-th step; at other steps return no rows.

    g and H are the gradient and the Hessian of the loss of batch t at θ_t, in training mode, over all
    parameters. In batch-dependent norms the statistics of the batch are differentiated too.

    phases: 1 measures at θ_t; 2 measures also at θ_{t+1} = θ_t − lr g_t with batch t + 1, and so on;
    products: number of Lanczos steps; draws: number of random vectors for the trace, 2 or more.

    phase, lr             0 at θ_t, 1 at θ_{t+1}; the learning rate of the run
    sharpness, lowest     λ_max and λ_min of H, as Ritz values: λ_max is at least `sharpness`
    residual              ‖Hv − λv‖₂ / |λ| with λ = `sharpness` and its unit vector v: H has an eigenvalue
                          in this relative distance of λ
    gradient_curvature    κ = gᵀHg / ‖g‖²; NaN if g is zero; may be negative
    hessian_gradient      ‖Hg‖₂ / ‖g‖₂, at least |κ|; in smooth nets the limit of β for η → 0
    alignment             ⟨g, v⟩² / ‖g‖², from 0 to 1
    trace, trace_error    mean of uᵀHu over random signs u (Hutchinson), and its standard error

    H is ∇²L almost everywhere. The kinks of ReLU and max-pooling are invisible to it, so in nets with
    kinks it says little about steps of finite size.

    All values are NaN where a derivative is not finite. Vectors are stored in float64, `products` of them;
    products of H have the dtype of the net. Cost per phase: one pass, and products + draws + 2 Hessian
    products, each two to four passes. All are the net's own passes: a fast pass has no second derivatives.
    """
    if point.step % every:
        return []
    points = _phases.points(point, phases)
    return [{"phase": phase, "lr": at.lr} | _curvature(at, products, draws) for phase, at in points]


def _curvature(point, products, draws):
    """Return the values of one row, without the phase and the learning rate."""
    _, gradient, hessian = point.value_gradient_and_hessian(point.parameters)
    g = flat(gradient)

    def product(v):
        return flat(hessian(parts(v, point.parameters)))

    start = torch.randn(len(g), generator=_stream(point, "lanczos"), dtype=torch.float64).to(g.device)
    lowest, sharpness, top = _lanczos.ends(product, start, products=products)
    curved = product(g)
    squared = g @ g
    forms = torch.stack([u @ product(u) for u in _signs(point, draws, like=g)])
    values = {
        "sharpness": sharpness,
        "lowest": lowest,
        "residual": (product(top) - sharpness * top).norm() / abs(sharpness),
        "gradient_curvature": g @ curved / squared,
        "hessian_gradient": curved.norm() / g.norm(),
        "alignment": (g @ top) ** 2 / squared,
        "trace": forms.mean(),
        "trace_error": forms.std() / draws**0.5,
    }
    return {name: float(value) for name, value in values.items()}


def _signs(point, draws, *, like):
    """Yield random vectors of entries 1 and −1, of the length and the device of `like`."""
    for number in range(draws):
        draw = torch.randint(2, like.shape, generator=_stream(point, "trace", number))
        yield 2.0 * draw.to(like) - 1.0


def _stream(point, name, *more):
    """Return the generator of a stream of this seed and step."""
    return streams.generator(point.seed, name, point.step, *more)
