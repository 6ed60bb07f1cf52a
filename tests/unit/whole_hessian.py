"""A slow second implementation: small nets by elementary operations, and their Hessian column by column."""

import functools

import torch
from torch import nn
from torch.autograd import functional as derivatives
from torch.nn import functional

from bnopt.run.point import Point
from bnopt.run.run import Run

SMALL = {
    "vgg": {"net": {"convolutions": [2, 2], "hidden": [2]}, "batch_size": 24},
    "deep_linear": {"net": {"depth": 4}, "batch_size": 30},
}
LR = {"vgg": 0.1, "deep_linear": 1e-4}


def precise_point(data, task, norm, *, smooth=False, step=3, lr=None):
    """Return a float64 point of a small net whose γ, β and running statistics are not 1 and 0.

    smooth: whether ReLU is replaced by tanh.
    """
    run = Run(data, **SMALL[task], task=task, norm=norm, seed=0, device=torch.device("cpu"))
    run.model.double()
    if smooth:
        for layer in run.model:
            if hasattr(layer, "relu"):
                layer.relu = nn.Tanh()
    batch = run.batch

    def double_batch(step):
        return [t.double() if t.is_floating_point() else t for t in batch(step)]

    run.batch = double_batch
    random = torch.Generator().manual_seed(1)
    state = {
        name: tensor + 0.2 * torch.rand(tensor.shape, generator=random, dtype=tensor.dtype)
        for name, tensor in run.model.state_dict().items()
    }
    return Point(run, state, step=step, lr=lr or LR[task])


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors])


def normalised(y, norm, gamma, beta, statistics):
    """Return the output of a norm; statistics: its running averages, or None for those of the batch."""
    dims = [0, *range(2, y.dim())]
    shape = [1, -1, *[1] * (y.dim() - 2)]
    if statistics:
        mean, scale = statistics[0].view(shape), statistics[1].view(shape)
        scale = (scale + 1e-5).sqrt() if norm == "batch" else scale + 1e-5
    else:
        mean = y.mean(dims, keepdim=True)
        if norm == "batch":
            scale = (((y - mean) ** 2).mean(dims, keepdim=True) + 1e-5) ** 0.5
        elif norm == "linf":
            scale = y.abs().amax(dims, keepdim=True) + 1e-5
        else:
            p = {"l1": 1, "l2": 2}[norm]
            scale = (y.abs() ** p).mean(dims, keepdim=True) ** (1 / p) + 1e-5
    return gamma.view(shape) * ((y - mean) / scale) + beta.view(shape)


def loss_of(point, norm, *, step=None, evaluation=False):
    """Return the loss as a function of all parameters as one vector; options are mistakes of others."""
    inputs, targets = point.run.batch(point.step if step is None else step)
    shapes = [p.shape for p in point.parameters]

    def loss(theta):
        cut = theta.split([shape.numel() for shape in shapes])
        values = {n: part.view(s) for n, part, s in zip(point.names, cut, shapes, strict=True)}
        x = inputs
        for number, layer in point.run.model.named_children():
            for name, module in layer.named_children():
                of = {n.split(".")[2]: v for n, v in values.items() if n.startswith(f"{number}.{name}.")}
                stored = [b for n, b in point.buffers.items() if n.startswith(f"{number}.{name}.")]
                if name == "linear" and isinstance(module, nn.Conv2d):
                    x = functional.conv2d(x, of["weight"], of["bias"], padding=1)
                elif name == "linear":
                    x = torch.einsum("ni,oi->no", x, of["weight"]) + of.get("bias", 0)
                elif name == "norm" and norm != "none":
                    x = normalised(x, norm, of["weight"], of["bias"], stored if evaluation else None)
                elif name == "relu":
                    x = torch.tanh(x) if isinstance(module, nn.Tanh) else torch.where(x > 0, x, 0.0)
                elif name == "flatten":
                    x = x.reshape(len(x), -1)
        if targets.is_floating_point():
            return ((x - targets) ** 2).sum()
        return -(x - x.logsumexp(1, keepdim=True))[range(len(x)), targets].mean()

    return loss


def gradient_at(point, norm, at, **mistakes):
    """Return g at a vector of parameters."""
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(loss_of(point, norm, **mistakes)(leaf), leaf)[0]


def hessian_of(loss, at):
    """Return the Hessian of a loss, whose columns one pass computes together."""
    return derivatives.hessian(loss, at, vectorize=True)


def gradient_and_hessian(point, norm, at=None, **mistakes):
    """Return g and H at a vector of parameters, by default the point's."""
    at = flat(point.parameters) if at is None else at
    return gradient_at(point, norm, at, **mistakes), hessian_of(loss_of(point, norm, **mistakes), at)


@functools.cache
def of_precise_point(data, task, norm, *, smooth=False):
    """Return g and H at a precise point, computed once for all tests: neither depends on its rate."""
    return gradient_and_hessian(precise_point(data, task, norm, smooth=smooth), norm)


def of_layers(point, wanted):
    """Return a mask of the entries whose layer's number satisfies `wanted`."""
    return torch.cat(
        [
            torch.full((p.numel(),), wanted(int(name.split(".")[0])))
            for name, p in zip(point.names, point.parameters, strict=True)
        ]
    )
