"""The theorems of Section 4 and Appendix C, evaluated on the net at a snapshot."""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from bnopt import theory
from bnopt.probes import _lanczos
from bnopt.probes._matrix import as_matrices
from bnopt.run import streams

# ε of the BN that a layer without BN is given; the nets with BN use the same.
EPS = 1.0e-5
# Number of Lanczos steps for the extreme eigenvalues of H.
PRODUCTS = 60
# The values recorded for each theorem at ε = 0, and at the ε in use.
EXACT = {
    "thm4.1": ["error", "mean_share", "correlation_share"],
    "thm4.2": [
        "error",
        "bound_slack",
        "premise",
        "projected_premise",
        "positive_correlation",
        "positive_form",
        "min_eigenvalue",
        "max_eigenvalue",
        "semidefinite",
    ],
    "thm4.4": ["error", "printed_slack"],
    "thmC.1": ["error"],
    "obs4.3": ["error"],
}
IN_USE = {
    "thm4.1": ["slack"],
    "thm4.2": ["slack"],
    "obs4.3": ["error"],
}


def measure(point, *, layers, units, every, samples):
    """Return one row per layer and unit at every `every`-th step; at other steps return no rows.

    layers: name -> number of the layer, counted from 1; units: number of units per layer, the same units
    as in the probe `activations`; samples: this probe uses the first `samples` samples of batch t, and
    its cost grows with them. The theorems hold for any batch, but the size of their terms depends on the
    batch: each share of Theorem 4.1 is about 1/m if g is unrelated to 1 and ŷ.

    All computations are in float64 and in training mode. y holds the m = samples × positions outputs of
    one unit of a layer. The loss is a function of the values that the rest of the net sees of that unit;
    all other units are held fixed. A layer with BN has its own γ and β. A layer without BN is given BN
    with γ = √(σ² + ε) and β = μ. This changes no value (Observation 4.3), so g = ∂L/∂y is the gradient of
    the unchanged net. Any other norm of the layer (noise, an ℓp norm) belongs to the rest of the net.
    Noise is drawn in float64, so it differs from the noise of training.

    layer, unit, values                  name of the layer; index of the unit; m
    gamma, sigma, spectral_norm          γ and σ at ε = 0; λ, the spectral norm of the layer's inputs
    thm4.1_*, thm4.2_*, thm4.4_*,        at ε = 0; each theorem's function in `bnopt.theory` describes the
    thmC.1_*, obs4.3_*                   name after the underscore
    *_eps                                the same at the ε in use
    thm4.2_min_eigenvalue,               of H, from PRODUCTS Lanczos steps; a negative eigenvalue proves
    _max_eigenvalue, _semidefinite       that H is indefinite, but its absence proves nothing

    `theorem_table` reads the columns of errors, slacks, shares and premises. The others (values, gamma,
    sigma, spectral_norm and the two eigenvalues) are for readers of the tables.

    A unit is dead, and has no row, if it does not vary over the batch, if its γ is 0, or if the loss does
    not depend on it.

    Cost: one forward pass through the net. Each unit adds 4 forward and backward passes and at most
    PRODUCTS + 6 Hessian products through the layers after it; a Hessian product costs about two backward
    passes. On CPUs, convolutions of small images are matrices there (`_matrix.py`), equal up to rounding.
    """
    if point.step % every:
        return []
    net, inputs, loss = _twin(point, samples)
    rows = []
    for layer, number in layers.items():
        site = _site(net, number, inputs)
        spectral_norm = _spectral_norm(site.linear, site.inputs)
        for unit in point.units(layer, site.outputs.shape[1], units).tolist():
            start = streams.generator(point.seed, "lanczos", point.step, layer, unit)
            values = _theorems(*_unit(site, unit, loss), spectral_norm=spectral_norm, start=start)
            rows += [{"layer": layer, "unit": unit} | values] if values else []
    return rows


class _Site(NamedTuple):
    """A net cut after the linear map of a layer, where BN stands or is inserted.

    linear, inputs, outputs: that map, its inputs and its outputs; norm: the BN after it, or None;
    seen: the outputs of the BN, or those of the map if there is none; after: the modules that follow.
    """

    linear: nn.Module
    inputs: torch.Tensor
    outputs: torch.Tensor
    norm: nn.Module | None
    seen: torch.Tensor
    after: list


def _twin(point, samples):
    """Return a float64 copy of the net at the snapshot, its inputs, and the loss as a function of outputs.

    samples: number of samples, the first of batch t.
    """
    point.run.set_noise(point.step)
    net = copy.deepcopy(point.run.model).requires_grad_(False).double()
    net.load_state_dict(dict(zip(point.names, point.parameters, strict=True)) | point.buffers)
    inputs, targets = (tensor[:samples] for tensor in point.run.batch(point.step))
    targets = targets.double() if targets.is_floating_point() else targets
    return net, inputs.double(), lambda outputs: point.run.task.loss(outputs, targets)


def _site(net, number, inputs):
    """Return the `_Site` of a layer; number: the layer's number, counted from 1."""
    layers = [list(layer.named_children()) for layer in net.children()]
    own = dict(layers[number - 1])
    names = list(own)
    before, after = names[: names.index("linear")], names[names.index("norm") + 1 :]
    # If a norm is a sequence, its first module normalises.
    norms = list(own["norm"]) if isinstance(own["norm"], nn.Sequential) else [own["norm"]]
    norm = norms.pop(0) if hasattr(norms[0], "running_var") else None

    earlier = [module for layer in layers[: number - 1] for _, module in layer]
    later = [module for layer in layers[number:] for _, module in layer]
    with torch.no_grad():
        inputs = nn.Sequential(*earlier, *(own[name] for name in before))(inputs)
        outputs = own["linear"](inputs)
        seen = outputs if norm is None else norm(outputs)
    after = as_matrices([*norms, *(own[name] for name in after), *later], seen)
    return _Site(own["linear"], inputs, outputs, norm, seen, after)


def _spectral_norm(linear, inputs):
    """Return the largest singular value of the inputs as a matrix with one row per output value of a unit."""
    if isinstance(linear, nn.Conv2d):
        inputs = functional.unfold(
            inputs, linear.kernel_size, linear.dilation, linear.padding, linear.stride
        ).transpose(1, 2)
    rows = inputs.flatten(0, -2)
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt().item()


def _unit(site, unit, loss):
    """Return a unit's outputs y (m,), the rest of the net as a function of z (m,), γ, β and ε.

    γ is a function of ε: it is constant in a layer with BN and √(σ² + ε) in a layer without.
    """
    y, seen = site.outputs[:, unit].flatten(), site.seen
    below, above = seen[:, :unit], seen[:, unit + 1 :]

    def rest(z):
        values = torch.cat([below, z.view(seen[:, unit : unit + 1].shape), above], dim=1)
        for module in site.after:
            values = module(values)
        return loss(values)

    if site.norm is None:
        return y, rest, lambda eps: (y.var(correction=0) + eps).sqrt().item(), y.mean().item(), EPS
    gamma = site.norm.weight[unit].item()
    return y, rest, lambda eps: gamma, site.norm.bias[unit].item(), site.norm.eps


def _theorems(y, rest, gamma, beta, eps, *, spectral_norm, start):
    """Return the recorded values of all theorems for one unit; an empty dict if the unit is dead."""
    if y.min() == y.max() or gamma(0.0) == 0:
        return {}
    unit = theory.evaluate(y, rest, gamma=gamma(0.0), beta=beta)
    if not unit.gradient.any():
        return {}
    exact = {
        "thm4.1": theory.theorem_4_1(unit),
        "thm4.2": theory.theorem_4_2(unit),
        "thm4.4": theory.theorem_4_4(unit, spectral_norm),
        "thmC.1": theory.theorem_c_1(unit, spectral_norm),
        "obs4.3": theory.observation_4_3(y),
    }
    start = torch.randn(len(y), generator=start, dtype=torch.float64).to(y.device)
    extremes = _lanczos.extreme_eigenvalues(unit.hessian_product, start, products=PRODUCTS)
    exact["thm4.2"] |= theory.definiteness(*extremes)
    values = {"values": len(y), "gamma": unit.gamma, "sigma": unit.variance**0.5}
    values |= {"spectral_norm": spectral_norm} | _columns(exact, EXACT)
    del unit  # frees the graphs behind its Hessian products before the next ones are built

    unit = theory.evaluate(y, rest, gamma=gamma(eps), beta=beta, eps=eps)
    in_use = {
        "thm4.1": theory.theorem_4_1(unit),
        "thm4.2": theory.theorem_4_2(unit),
        "obs4.3": theory.observation_4_3(y, eps=eps),
    }
    return values | {f"{name}_eps": value for name, value in _columns(in_use, IN_USE).items()}


def _columns(theorems, recorded):
    """Return <theorem>_<key> -> value for the recorded keys of each theorem."""
    return {f"{name}_{key}": theorems[name][key] for name, keys in recorded.items() for key in keys}
