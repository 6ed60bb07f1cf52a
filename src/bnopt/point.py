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
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        tensors = dict(zip(self.names, parameters, strict=True)) | buffers
        return functional_call(self.run.model, tensors, (inputs,))
