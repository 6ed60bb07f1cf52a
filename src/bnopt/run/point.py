"""A run at one step, restored from a snapshot; probes measure on it."""

from contextlib import contextmanager
from functools import lru_cache, partial

import torch
from torch.func import functional_call

from bnopt.run import streams
from bnopt.run.vectors import descend, value_and_gradient, value_gradient_and_hessian


class Point:
    """A run at step t: its parameters θ_t, and the loss of batch t as a function of parameters.

    No method changes the run. Parameters are arguments, every pass works on a copy of the buffers
    (running statistics), and the noise is that of the step, the same at every call.

    step: t; seed: that of the run; parameters: θ_t, a list of tensors; lr: the configured learning rate of
    the run. It is the same at all steps, also where a warm-up trains with less: probes then compare the
    landscape at equal step sizes, and "the run's own update" in them is a step of lr.
    """

    def __init__(self, run, state, *, step, lr):
        self.run, self.step, self.lr, self.seed = run, step, lr, run.seed
        self.names = [name for name, _ in run.model.named_parameters()]
        self.parameters = [state[name] for name in self.names]
        self.buffers = {name: state[name] for name, _ in run.model.named_buffers()}

    def loss(self, parameters, *, step=None, training=True):
        """Return the loss of batch t, or of the batch of another step, as a scalar tensor."""
        step = self.step if step is None else step
        inputs, targets = self.run.batch(step)
        self.run.model.train(training)
        try:
            return self.run.task.loss(self._forward(parameters, inputs, step), targets)
        finally:
            self.run.model.train()

    def value_and_gradient(self, parameters):
        """Return the loss of batch t in training mode and its gradient, both detached."""
        if self.run.fast_pass:
            return self.run.fast_pass(parameters)
        self.run.set_noise(self.step)
        inputs, targets = self.run.batch(self.step)
        value, *gradient = _recorded_pass(self.run)(*parameters, *self.buffers.values(), inputs, targets)
        return value, gradient

    def value_gradient_and_hessian(self, parameters):
        """Return the loss of batch t in training mode, its gradient and its Hessian (`vectors`).

        It is the net's own pass, also in a run with a fast pass: that one has no second derivatives.
        """
        return value_gradient_and_hessian(self.loss, parameters)

    def after_update(self):
        """Return the point at step t + 1, after the run's own update θ_{t+1} = θ_t − lr g_t.

        Its buffers are those of θ_t. No pass in training mode depends on them, but for the norm `frozen`.
        """
        _, gradient = self.value_and_gradient(self.parameters)
        updated = descend(self.parameters, gradient, self.lr)
        state = dict(zip(self.names, updated, strict=True)) | self.buffers
        return Point(self.run, state, step=self.step + 1, lr=self.lr)

    def inputs(self):
        """Return the inputs of batch t."""
        return self.run.batch(self.step)[0]

    def own(self, number):
        """Return the indices in `parameters` of a layer's own parameters and those of its norm."""
        return [i for i, name in enumerate(self.names) if name.startswith(f"{number}.")]

    def units(self, layer, available, wanted):
        """Return which units of a layer to measure: the same at every step, in every condition and probe.

        layer: its name in the paper; available: how many units it has; wanted: how many to measure.
        """
        order = torch.randperm(available, generator=streams.generator(self.seed, "units", layer))
        return order[:wanted].sort().values

    def layer(self, number, parameters, activations):
        """Return the output of one layer of the net, counted from 1; `activations` are its inputs."""
        self.run.set_noise(self.step)
        prefix = f"{number}."
        tensors = {self.names[i].removeprefix(prefix): parameters[i] for i in self.own(number)}
        tensors |= {
            name.removeprefix(prefix): buffer.clone()
            for name, buffer in self.buffers.items()
            if name.startswith(prefix)
        }
        return functional_call(self.run.model.get_submodule(str(number)), tensors, (activations,))

    def loss_from(self, number, parameters, activations):
        """Return the loss of batch t if `activations` are the inputs of layer `number`."""
        _, targets = self.run.batch(self.step)
        for later in range(number, len(self.run.model) + 1):
            activations = self.layer(later, parameters, activations)
        return self.run.task.loss(activations, targets)

    def outputs(self, parameters, modules, *, step):
        """Return the outputs of the named modules (such as "3.norm") on the batch of `step`."""
        inputs, _ = self.run.batch(step)
        with self._collected(modules) as outputs:
            self._forward(parameters, inputs, step)
        return {name: output.detach() for name, output in outputs.items()}

    def outputs_and_gradients(self, parameters, modules):
        """Return name -> outputs, and name -> ∂L/∂outputs, of the named modules (such as "3.linear").

        Both are those of batch t in training mode. The modules depend on parameters.
        """
        with self._collected(modules) as outputs:
            loss = self.loss([p.detach().requires_grad_() for p in parameters])
        gradients = torch.autograd.grad(loss, list(outputs.values()))
        detached = {name: output.detach() for name, output in outputs.items()}
        return detached, dict(zip(outputs, gradients, strict=True))

    @contextmanager
    def _collected(self, modules):
        """Yield a dictionary that the passes in this block fill: name of a module -> its output."""
        outputs = {}

        def store(name):
            return lambda _module, _inputs, output: outputs.__setitem__(name, output)

        hooks = [self.run.model.get_submodule(name).register_forward_hook(store(name)) for name in modules]
        try:
            yield outputs
        finally:
            for hook in hooks:
                hook.remove()

    def _forward(self, parameters, inputs, step):
        self.run.set_noise(step)
        return _outputs(self.run, parameters, self.buffers, inputs)


def _outputs(run, parameters, buffers, inputs):
    """Return the outputs of the net; the pass changes no buffer."""
    names = [name for name, _ in run.model.named_parameters()]
    tensors = dict(zip(names, parameters, strict=True))
    tensors |= {name: buffer.clone() for name, buffer in buffers.items()}
    return functional_call(run.model, tensors, (inputs,))


def _pass(run, *tensors):
    """Return the loss and its gradient; tensors: parameters, buffers, inputs and targets, in this order."""
    *state, inputs, targets = tensors
    names = [name for name, _ in run.model.named_buffers()]
    count = len(state) - len(names)
    parameters, buffers = state[:count], dict(zip(names, state[count:], strict=True))

    def loss(leaves):
        return run.task.loss(_outputs(run, leaves, buffers, inputs), targets)

    value, gradient = value_and_gradient(loss, parameters)
    return value, *gradient


@lru_cache(maxsize=1)
def _recorded_pass(run):
    """Return the recorded pass of a run; one recording serves all points of the run."""
    return run.recorded(partial(_pass, run))
