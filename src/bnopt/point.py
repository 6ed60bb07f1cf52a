"""A snapshot brought back to life, for probes to measure on."""

from torch.func import functional_call


class Point:
    """A run at step t as functions of its parameters: θ_t and the loss of batch t in training mode.

    Nothing here changes the run: parameters are arguments, every pass works on a copy of the
    buffers (running statistics), and noise is that of the step, the same at every call.

    step: t; seed; lr: the learning rate of the run; parameters: θ_t, a list of tensors.
    """

    def __init__(self, run, state, *, step, lr):
        self.run, self.step, self.lr, self.seed = run, step, lr, run.seed
        self.names = [name for name, _ in run.model.named_parameters()]
        self.parameters = [state[name] for name in self.names]
        self.buffers = {name: state[name] for name, _ in run.model.named_buffers()}

    def loss(self, parameters):
        """Return the loss of batch t, a scalar tensor."""
        inputs, targets = self.run.batch(self.step)
        return self.run.task.loss(self._forward(parameters, inputs, self.step), targets)

    def inputs(self):
        """Return the inputs of batch t."""
        return self.run.batch(self.step)[0]

    def layer(self, number, parameters, activations):
        """Return the output of one layer of the net, counted from 1, for its inputs."""
        self.run.set_noise(self.step)
        prefix = f"{number}."
        tensors = dict(zip(self.names, parameters, strict=True)) | self._copied_buffers()
        own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        return functional_call(self.run.model.get_submodule(str(number)), own, (activations,))

    def loss_from(self, number, parameters, activations):
        """Return the loss of batch t where `activations` are the inputs of layer `number`."""
        _, targets = self.run.batch(self.step)
        for later in range(number, len(self.run.model) + 1):
            activations = self.layer(later, parameters, activations)
        return self.run.task.loss(activations, targets)

    def outputs(self, parameters, modules, *, step):
        """Return the outputs of the named modules (such as "3.norm") on the batch of `step`."""
        outputs = {}

        def keep(name):
            return lambda _module, _inputs, output: outputs.__setitem__(name, output.detach())

        hooks = [self.run.model.get_submodule(name).register_forward_hook(keep(name)) for name in modules]
        inputs, _ = self.run.batch(step)
        self._forward(parameters, inputs, step)
        for hook in hooks:
            hook.remove()
        return outputs

    def _forward(self, parameters, inputs, step):
        self.run.set_noise(step)
        tensors = dict(zip(self.names, parameters, strict=True)) | self._copied_buffers()
        return functional_call(self.run.model, tensors, (inputs,))

    def _copied_buffers(self):
        return {name: buffer.clone() for name, buffer in self.buffers.items()}
