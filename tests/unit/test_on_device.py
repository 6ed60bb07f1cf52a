"""Steps and passes stay on their device: tested on `meta`, PyTorch's device of shapes without values.

There, as on a GPU, an operation on tensors of two devices fails. Reading a value fails too, which a CUDA
graph cannot record.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bnopt import plugins
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.train import updater

SILENT = [name for name in plugins.names("norms") if "nois" not in name]  # noise draws values
RUNS = [(task, norm) for task in plugins.names("tasks") for norm in SILENT]
META = torch.device("meta")


class Devices(TorchDispatchMode):
    """Counts PyTorch's operations, and collects those with tensors on another device than META."""

    def __enter__(self):
        self.performed, self.elsewhere = 0, set()
        return super().__enter__()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = [t for t in tree_leaves((arguments, options, result)) if isinstance(t, torch.Tensor)]
        self.performed += 1
        if any(t.device != META for t in tensors):
            self.elsewhere.add(str(function))
        return result


@pytest.fixture
def run(prepared, sizes_of):
    """Function: task, norm -> a run on META."""

    def run(task, norm):
        return Run(prepared, **sizes_of(task), norm=norm, seed=0, device=META)

    return run


@pytest.mark.parametrize(("task", "norm"), RUNS)
def test_a_training_step_and_a_pass_of_a_probe_read_no_value_and_stay_on_the_device(run, task, norm):
    run = run(task, norm)
    batch = run.batch(3)
    update = updater(run, lr=0.1)
    with Devices() as of_step:
        update(*batch)
    point = Point(run, run.model.state_dict(), step=3, lr=0.1)
    with Devices() as of_pass:
        point.value_and_gradient(point.parameters)
    assert (of_step.elsewhere, of_pass.elsewhere) == (set(), set())
    assert min(of_step.performed, of_pass.performed) > 50


def test_reading_a_value_or_mixing_devices_would_be_noticed(run):
    outputs = run("vgg", "batch").model(torch.ones(2, 1, 8, 8, device=META))
    with pytest.raises(RuntimeError, match="meta"):
        outputs.mean().item()
    with pytest.raises(RuntimeError, match="device"):
        outputs + torch.ones(2, 10)
    with Devices() as devices:
        torch.ones(2)
    assert devices.elsewhere == {"aten.ones.default"}


@pytest.fixture
def make_up_values(monkeypatch):
    """Function: from now on every value that is read is 1, so that a probe can finish on META."""

    def ones(tensor):
        return torch.ones(tensor.shape, dtype=tensor.dtype)

    def make_up_values():
        for name in ("item", "tolist", "__float__", "numpy"):
            read = getattr(torch.Tensor, name)
            monkeypatch.setattr(torch.Tensor, name, lambda tensor, read=read: read(ones(tensor)))
        monkeypatch.setattr(torch.Tensor, "cpu", ones)
        # No two values are equal, and gradients are not zero: no unit is dead.
        monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: False)
        monkeypatch.setattr(torch.Tensor, "any", lambda tensor: True)

    return make_up_values


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_whole_probe_never_mixes_devices(run, make_up_values, probe_settings, point_of, measured, norm):
    name, task = measured
    # Which devices meet depends on the code alone, so little is enough.
    few = {"units": 1, "samples": 2, "products": 2, "draws": 2}
    settings = {key: few.get(key, value) for key, value in probe_settings(name, task).items()}
    measure = plugins.load("probes", name).measure
    on_cpu = measure(point_of(norm, 9, task=task), **settings)
    run = run(task, norm)
    point = Point(run, run.model.state_dict(), step=9, lr=0.1)
    make_up_values()
    on_device = measure(point, **settings)
    assert [list(row) for row in on_device] == [list(row) for row in on_cpu] != []
