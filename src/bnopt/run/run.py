"""A run: one condition at one seed. Training changes it, probes measure it; both see the same batches."""

import torch

from bnopt import plugins
from bnopt.run import graphs


class Run:
    """The net, the batches and the loss of a run.

    data: path of the prepared data, if the task needs any; net: keyword arguments of the task's `build`,
    and `initial_scale`, a factor of the initial weights, if it is not 1; device: a torch device
    (`device.choose`).

    fast_pass: if the task has a faster form for this norm and device, a function with the results of the
    net's own passes in training mode: (parameters, buffers) -> loss, gradient. It updates the running
    statistics in `buffers`, if they are given. Only a task whose steps all use the same batch, and whose
    accuracy is NaN, may have one. None otherwise.
    """

    # The settings of a job that are arguments here.
    SETTINGS = ("task", "norm", "net", "batch_size")

    def __init__(self, data, *, task, norm, net, batch_size, seed, device):
        self.task = plugins.load("tasks", task)
        self.data = self.task.read(data, seed=seed, batch_size=batch_size, device=device)
        norm_file = plugins.load("norms", norm)
        self.model = _built(self.task, norm_file, self.data, **net, seed=seed)
        self.model.to(device).train()
        # Not every task has a faster form of its passes, nor is there one for every norm and device.
        build_fast_pass = getattr(self.task, "fast_pass", None)
        self.fast_pass = build_fast_pass and build_fast_pass(norm_file, self.model, self.data)
        self.noisy = [
            (int(number), module)
            for number, layer in self.model.named_children()
            for module in layer.modules()
            if hasattr(module, "stream")
        ]
        self.settling = [module for module in self.model.modules() if hasattr(module, "settle")]
        self.name = f"{task} {norm} seed {seed}"
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._start()

    def batch(self, step):
        """Return the inputs and targets of the batch of `step`."""
        return self.task.batch(self.data, seed=self.seed, step=step, batch_size=self.batch_size)

    def set_noise(self, step):
        """Make every norm that draws noise draw the noise of `step`."""
        for number, module in self.noisy:
            module.stream = (self.seed, step, number)

    def settle(self):
        """After the update of a step: move the statistics that norms keep constant within a step."""
        with torch.no_grad():
            for module in self.settling:
                module.settle()

    def _start(self):
        """Set these statistics to those of batch 0 at the initial weights."""

        def start(module, inputs):
            module.observe(*inputs)
            module.settle(share=1)

        hooks = [module.register_forward_pre_hook(start) for module in self.settling]
        if hooks:
            self.set_noise(0)
            with torch.no_grad():
                self.model(self.batch(0)[0])
        for hook in hooks:
            hook.remove()

    def recorded(self, function, *, changes=()):
        """Return a function of tensors, recorded (`graphs.Recorded`) if the run is on a GPU without noise.

        Python code draws new noise at every step, so a run with noise cannot be recorded.
        """
        recordable = self.device.type == "cuda" and not self.noisy
        return graphs.Recorded(function, changes=changes) if recordable else function


def _built(task, norm, data, *, initial_scale=1, **arguments):
    """Return the untrained net of a task; arguments: those of its `build`.

    The weights of all linear maps are multiplied by `initial_scale`. A norm may have a function
    `reparametrise(linear)`: it acts on the linear map in front of it. It is called last, because
    it would lose weights that are drawn later.
    """
    model = task.build(norm, data, **arguments)
    reparametrise = getattr(norm, "reparametrise", None)
    for layer in model:
        with torch.no_grad():
            layer.linear.weight.mul_(initial_scale)
        if reparametrise and hasattr(layer, "norm"):
            reparametrise(layer.linear)
    return model


def split(settings):
    """Split the settings of a job in two: the arguments of its `Run`, and all others."""
    of_run = {key: settings[key] for key in Run.SETTINGS}
    return of_run, {key: value for key, value in settings.items() if key not in of_run}
