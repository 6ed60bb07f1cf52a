"""The theorems of Section 4 and Appendix C, evaluated on the net at a snapshot."""

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from bnopt import theory
from bnopt.run import streams

# The ε of the BN that a layer without one is given, as in use elsewhere.
EPS = 1.0e-5
# Lanczos steps for the extreme eigenvalues of H.
PRODUCTS = 60
# The values recorded for each theorem, at ε = 0 and at the ε in use.
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
    """Return a row per layer and unit at every `every`-th step, else nothing.

    layers: name -> number of the layer, counted from 1; units: how many per layer, the same as in the
    probe `activations`; samples: how many of batch t, its first ones, are the batch of this probe. Costs
    grow with them. The theorems hold for any batch, but what they subtract does not stay the same: the
    shares of Theorem 4.1 are about 1/m each where g has nothing to do with 1 and ŷ.

    All in float64 and in training mode. y are the outputs of one unit of a layer, m = samples × positions
    of them; the loss is a function of what the rest of the net sees of that unit, all other units held
    fixed. A layer with BN is taken with its own γ and β. One without is given BN with γ = √(σ² + ε) and
    β = μ, which changes no value (Observation 4.3), so that g = ∂L/∂y is that of the net as it is;
    whatever stands there instead (noise, an ℓp norm) belongs to the rest. Noise is a draw in float64,
    not that of training.

    layer, unit, values                  the name, which, and m
    gamma, sigma, spectral_norm             γ and σ at ε = 0, and λ, the spectral norm of the layer's inputs
    thm4.1_*, thm4.2_*, thm4.4_*,        at ε = 0; what follows the underscore is described at each
    thmC.1_*, obs4.3_*                   theorem in `bnopt.theory`
    *_eps                                the same at the ε in use
    thm4.2_min_eigenvalue,               of H, by PRODUCTS Lanczos steps: a negative value is proof,
    _max_eigenvalue, _semidefinite       its absence is not

    A unit that does not vary over the batch, or on which the loss does not depend, is dead and has no row.

    Cost: one forward pass through the net, then for each unit 4 forward and backward passes and at most
    PRODUCTS + 6 Hessian products, of about two backward passes each, through the layers after it.
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
    """Where BN stands, or is put: a net cut after the linear map of a layer.

    linear: that map, its inputs and outputs; norm: its BN, or None; after: the modules that follow.
    """

    linear: nn.Module
    inputs: torch.Tensor
    outputs: torch.Tensor
    norm: nn.Module | None
    after: list


def _twin(point, samples):
    """Return a copy of the net in float64 with the snapshot's weights, some inputs, and their loss."""
    point.run.set_noise(point.step)
    net = copy.deepcopy(point.run.model).requires_grad_(False).double()
    net.load_state_dict(dict(zip(point.names, point.parameters, strict=True)) | point.buffers)
    inputs, targets = (tensor[:samples] for tensor in point.run.batch(point.step))
    targets = targets.double() if targets.is_floating_point() else targets
    return net, inputs.double(), lambda outputs: point.run.task.loss(outputs, targets)


def _site(net, number, inputs):
    """Return the site after the linear map of a layer, counted from 1."""
    layers = [list(layer.named_children()) for layer in net.children()]
    own = dict(layers[number - 1])
    names = list(own)
    before, after = names[: names.index("linear")], names[names.index("norm") + 1 :]
    # A norm that is a sequence begins with what normalises.
    norms = list(own["norm"]) if isinstance(own["norm"], nn.Sequential) else [own["norm"]]
    norm = norms.pop(0) if hasattr(norms[0], "running_var") else None

    earlier = [module for layer in layers[: number - 1] for _, module in layer]
    later = [module for layer in layers[number:] for _, module in layer]
    with torch.no_grad():
        inputs = nn.Sequential(*earlier, *(own[name] for name in before))(inputs)
        outputs = own["linear"](inputs)
    return _Site(own["linear"], inputs, outputs, norm, [*norms, *(own[name] for name in after), *later])


def _spectral_norm(linear, inputs):
    """Return the largest singular value of the inputs as a matrix, a row for each output value of a unit."""
    if isinstance(linear, nn.Conv2d):
        inputs = functional.unfold(
            inputs, linear.kernel_size, linear.dilation, linear.padding, linear.stride
        ).transpose(1, 2)
    rows = inputs.flatten(0, -2)
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt().item()


def _unit(site, unit, loss):
    """Return a unit's outputs y (m,), the rest of the net as a function of z (m,), γ, β and ε.

    γ and β are functions of ε where there is no BN.
    """
    y = site.outputs[:, unit].flatten()
    with torch.no_grad():
        seen = site.outputs if site.norm is None else site.norm(site.outputs)
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
    """Return the recorded values of all theorems for one unit; nothing for a dead one."""
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
    extremes = theory.extreme_eigenvalues(unit.hessian_product, start, products=PRODUCTS)
    values = {
        "values": len(y),
        "gamma": unit.gamma,
        "sigma": unit.variance**0.5,
        "spectral_norm": spectral_norm,
    }
    values |= _columns(exact, EXACT) | {
        f"thm4.2_{name}": value for name, value in theory.definiteness(*extremes).items()
    }
    del unit  # and the graphs behind its Hessian products, before the next are built

    unit = theory.evaluate(y, rest, gamma=gamma(eps), beta=beta, eps=eps)
    in_use = {
        "thm4.1": theory.theorem_4_1(unit),
        "thm4.2": theory.theorem_4_2(unit),
        "obs4.3": theory.observation_4_3(y, eps=eps),
    }
    return values | {f"{name}_eps": value for name, value in _columns(in_use, IN_USE).items()}


def _columns(theorems, recorded):
    return {f"{name}_{key}": theorems[name][key] for name, keys in recorded.items() for key in keys}
