"""The loss of a deep linear net and its gradient, from a few virtual samples instead of all samples.

Let X (n samples × units) be the inputs, and let Q (n × k, k ≤ units + 1) have orthonormal columns that span
those of [1, X]; the first is 1/√n. The k rows of QᵀX are the virtual samples. Every layer is affine in the
samples. So its outputs are Y = QV, where V are the outputs of the virtual samples, and it holds exactly:

    mean of Y over samples                 V₀ / √n, where V₀ is the first row of V
    Y minus this mean                      Q times V with a first row of zeros
    sums of squares of Y over samples      sums of squares of V over its rows

Thus the mean, the variance, the ℓ2 norm and the loss, a sum of squares, need V alone. Other statistics need
Y = QV, but nothing else does.

A norm takes part if it is the identity and leaves the weights alone, or if its file has a function

    virtual_scale(y, rotation, eps) -> s, ∂s/∂y, statistic

and its module computes γ (y − μ) / s + β, has the parameters γ and β, and keeps running averages of μ and
`statistic`, in this order. y is V, (..., k, units); rotation is Q; s and statistic are (..., 1, units).
"""

import numpy as np
import torch
from torch import nn


def fast_pass(norm, model, data):
    """Return a `VirtualPass` with the results of the net, its loss and autograd; None if there is none.

    norm: the module of the norm's file; data: inputs, and targets that are linear in them. There is none on
    GPUs: they are fastest with all samples and recorded kernels.
    """
    norms = [layer.norm for layer in model if hasattr(layer, "norm")]
    scale = getattr(norm, "virtual_scale", None)
    plain = all(isinstance(m, nn.Identity) for m in norms) and not hasattr(norm, "reparametrise")
    if data["inputs"].device.type != "cpu" or not (scale or plain):
        return None
    return VirtualPass(data["inputs"].numpy(), data["targets"].numpy(), norms=norms, scale=scale)


class VirtualPass:
    """A function (parameters, buffers) -> loss, gradient.

    norms: the norm modules of the net; scale: their `virtual_scale`, None for the identity.
    """

    def __init__(self, inputs, targets, *, norms, scale):
        self.rotation = rotation(inputs)
        self.inputs, self.targets = self.rotation.T @ inputs, self.rotation.T @ targets
        self.root = np.sqrt(len(inputs))
        self.scale = scale
        self.tensors = 3 if scale else 1  # per layer: the weights, γ and β
        if scale and norms:
            self.eps, self.momentum = norms[0].eps, norms[0].momentum

    def __call__(self, parameters, buffers=()):
        """Return the loss and its gradient; update the running averages in `buffers`, if they are given.

        parameters, buffers: detached tensors, in the order of the net. Without buffers, the parameters of S
        nets may be stacked, (S, ...) each; then the loss is (S,), and gradients are stacked too.
        """
        values = [parameter.numpy() for parameter in parameters]
        # Far along a line and in diverged runs values overflow, as they do on all samples.
        with np.errstate(all="ignore"):
            loss, gradient, statistics = self._pass(values)
            if buffers:
                for buffer, statistic in zip(buffers, statistics, strict=True):
                    average = buffer.numpy()
                    average += self.momentum * (statistic[0] - average)
        return torch.tensor(loss), [torch.from_numpy(array) for array in gradient]

    def _pass(self, values):
        """Return the loss, its gradient, and the means and statistics of all layers."""
        *hidden, (last,) = [values[i : i + self.tensors] for i in range(0, len(values), self.tensors)]
        x, states = self.inputs, []
        for weight, *affine in hidden:
            y = x @ weight.mT
            output, state = self._normalise(y, *affine) if affine else (y, None)
            states.append((x, state))
            x = output

        error = x @ last.mT - self.targets
        slope = 2 * error
        gradient = [slope.mT @ x]  # from the last tensor to the first
        slope = slope @ last
        for (weight, *affine), (x, state) in zip(reversed(hidden), reversed(states), strict=True):
            if affine:
                slope, of_gamma, of_beta = self._backward(slope, state)
                gradient += [of_beta, of_gamma]
            gradient.append(slope.mT @ x)
            slope = slope @ weight
        statistics = [value for _, state in states if state for value in state[-2:]]
        return (error**2).sum((-2, -1)), gradient[::-1], statistics

    def _normalise(self, y, gamma, beta):
        """Return γ (y − μ) / s + β, and what the way back needs, ending with μ and the norm's statistic."""
        scale, scale_slope, statistic = self.scale(y, self.rotation, self.eps)
        factor = gamma[..., None, :] / scale
        output = y * factor
        output[..., 0, :] = self.root * beta
        return output, (y, scale, scale_slope, factor, y[..., :1, :] / self.root, statistic)

    def _backward(self, slope, state):
        """Return the gradients with respect to y, γ and β; slope: the gradient with respect to the output."""
        y, scale, scale_slope, factor, *_ = state
        of_beta = self.root * slope[..., 0, :]
        of_gamma = (slope[..., 1:, :] * y[..., 1:, :]).sum(-2, keepdims=True) / scale
        of_y = slope * factor
        of_y[..., 0, :] = 0
        of_y -= scale_slope * (factor * of_gamma)
        return of_y, of_gamma[..., 0, :], of_beta


def rotation(inputs):
    """Return Q, (samples, k): orthonormal columns that span [1, inputs], the first of them 1/√samples."""
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(inputs)), inputs]))
    basis[:, 0] = 1 / np.sqrt(len(inputs))
    return basis
