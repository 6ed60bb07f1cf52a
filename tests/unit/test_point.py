"""A point restores the run at a step, and neither a point nor a probe changes anything."""

import copy
import random

import numpy as np
import pytest
import torch
from conftest import KINDS, MEASURED
from torch.nn import functional

from bnopt import plugins, probe
from bnopt.run import snapshots
from bnopt.run.point import Point
from bnopt.run.run import Run, split
from bnopt.study import study

NORMS = plugins.names("norms")
CPU = torch.device("cpu")


# -- what a point is ------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_the_loss_of_a_point_is_the_loss_that_training_recorded(point_of, run_of, norm):
    curve = run_of(norm).curve
    for step in (0, 5, 11):
        point = point_of(norm, step)
        assert point.loss(point.parameters).item() == curve["loss"][step]


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_down_the_gradient_of_a_point_is_the_next_snapshot(point_of, run_of, norm):
    point = point_of(norm, 4)
    leaves = [p.clone().requires_grad_() for p in point.parameters]
    gradient = torch.autograd.grad(point.loss(leaves), leaves)
    following = snapshots.read(run_of(norm).folder, 5, "cpu")
    for name, leaf, g in zip(point.names, leaves, gradient, strict=True):
        assert torch.equal(torch.sub(leaf.detach(), g, alpha=0.1), following[name])


def test_parameters_are_all_parameters_of_the_net(point_of):
    point = point_of("batch", 3)
    assert point.names == [name for name, _ in point.run.model.named_parameters()]
    assert len(point.parameters) == 2 * 6 + 2 * 5
    assert (point.step, point.seed, point.lr) == (3, 0, 0.1)


@pytest.mark.parametrize("norm", NORMS)
def test_outputs_are_those_of_the_named_modules_in_training_mode_on_any_steps_batch(point_of, norm):
    point = point_of(norm, 4)
    for step in (4, 5):
        found = point.outputs(point.parameters, ["2.norm", "2.relu", "5.norm"], step=step)
        assert list(found) == ["2.norm", "2.relu", "5.norm"]

        model = copy.deepcopy(point.run.model)
        model.load_state_dict(dict(zip(point.names, point.parameters, strict=True)) | point.buffers)
        for layer in range(1, 6):
            for module in model.get_submodule(f"{layer}.norm").modules():
                if hasattr(module, "stream"):
                    module.stream = (0, step, layer)
        x, _ = point.run.batch(step)
        for layer, modules in model.named_children():
            for name, module in modules.named_children():
                x = module(x)
                if f"{layer}.{name}" in found:
                    assert torch.equal(found[f"{layer}.{name}"], x)


def test_noise_of_a_point_is_that_of_its_step_even_after_other_steps_were_looked_at(point_of):
    point = point_of("noisy_batch", 4)
    first = point.loss(point.parameters)
    point.outputs(point.parameters, ["2.norm"], step=5)
    assert torch.equal(point.loss(point.parameters), first)


def test_outputs_leave_no_hooks_behind(point_of):
    point = point_of("batch", 4)
    point.outputs(point.parameters, ["2.norm", "2.relu"], step=4)
    assert not any(module._forward_hooks for module in point.run.model.modules())


# -- nothing changes ------------------------------------------------------------------------------


def everything(point, state):
    """Return copies of everything that a probe could change."""
    model = point.run.model
    return {
        "model": copy.deepcopy(model.state_dict()),
        "snapshot": copy.deepcopy(state),
        "point": [p.clone() for p in point.parameters] + [b.clone() for b in point.buffers.values()],
        "gradients": [p.grad for p in model.parameters()],
        "leaves": [p.requires_grad for p in model.parameters()] + [p.requires_grad for p in state.values()],
        "modes": [m.training for m in model.modules()],
        "data": {
            name: value.clone() for name, value in point.run.data.items() if isinstance(value, torch.Tensor)
        },
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "python": random.getstate(),
        "defaults": (torch.get_default_dtype(), torch.is_grad_enabled()),
    }


def assert_same(before, after):
    if isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    elif isinstance(before, np.ndarray):
        np.testing.assert_array_equal(before, after)
    elif isinstance(before, dict):
        assert before.keys() == after.keys()
        for key in before:
            assert_same(before[key], after[key])
    elif isinstance(before, list | tuple):
        assert len(before) == len(after)
        for a, b in zip(before, after, strict=True):
            assert_same(a, b)
    else:
        assert before == after


def raw_point(prepared, sizes_of, run_of, norm, task, step):
    """Return a point and the state dict of its snapshot."""
    state = snapshots.read(run_of(norm, task=task).folder, step, "cpu")
    run = Run(prepared, **sizes_of(task), norm=norm, seed=0, device=CPU)
    return Point(run, state, step=step, lr=0.1 if task == "vgg" else 1e-6), state


# Each probe is tested with a norm of each kind of state. Each other norm is tested with a probe of first
# derivatives and one of second.
UNTOUCHED = [(probe, task, norm) for probe, task in MEASURED for norm in KINDS] + [
    (*measured, norm)
    for measured in (("along_gradient", "vgg"), ("curvature", "deep_linear"))
    for norm in NORMS
    if norm not in KINDS
]


@pytest.mark.parametrize(("name", "task", "norm"), UNTOUCHED)
def test_a_probe_changes_nothing_and_measures_the_same_twice(
    prepared, sizes_of, run_of, probe_settings, name, task, norm
):
    # In the small net with `divide` all units of a layer die early: then there is nothing to measure.
    step = 0 if norm == "divide" else 9
    point, state = raw_point(prepared, sizes_of, run_of, norm, task, step=step)
    measure = plugins.load("probes", name).measure
    before = everything(point, state)
    first = measure(point, **probe_settings(name, task))
    assert first
    assert_same(before, everything(point, state))
    assert measure(point, **probe_settings(name, task)) == first


def test_a_probe_measures_the_same_on_a_net_that_was_used_before(point_of, run_of, probe_settings, measured):
    """A point replaces the net's weights, running statistics and noise by those of the snapshot and step."""
    name, task = measured
    rows = []
    for used in (False, True):
        point = point_of("noisy_batch", 9, task=task)
        if used:
            other = snapshots.read(run_of("noisy_batch", task=task).folder, 11, "cpu")
            point.run.model.load_state_dict(other)
            point.run.set_noise(3)
            point.run.model(point.run.batch(9)[0])
        rows.append(plugins.load("probes", name).measure(point, **probe_settings(name, task)))
    assert rows[0] == rows[1]


def test_a_table_holds_the_rows_of_every_snapshot_with_their_step_and_snapshots_stay(
    prepared, run_of, point_of, probe_settings, small_config, measured
):
    name, task = measured
    folder = run_of("batch", task=task).folder
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    of_scale = study.written_out(small_config)
    of_run, arguments = split(study.probe_settings(of_scale, f"{task}_batch", name))
    table = probe.probe(Run(prepared, **of_run, seed=0, device=CPU), folder, **arguments)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    every = arguments["settings"].get("every", 1)
    assert table["step"].unique().tolist() == list(range(0, 12, every))
    measure = plugins.load("probes", name).measure
    for step in (0, 7, 9):
        point = point_of("batch", step, task=task)
        rows = [{"step": step} | row for row in measure(point, **probe_settings(name, task))]
        assert table[table["step"] == step].to_dict("records") == rows


# -- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_sizes", [[1], [0.5, 1, 2], [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]])
def test_k_points_along_the_gradient_cost_k_plus_1_forward_and_backward_passes(
    point_of, monkeypatch, step_sizes
):
    point = point_of("batch", 5)
    passes = {"forward": 0, "backward": 0}
    grad, backward = torch.autograd.grad, torch.Tensor.backward

    def counted(kind, function):
        def call(*arguments, **named):
            passes[kind] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(torch.autograd, "grad", counted("backward", grad))
    monkeypatch.setattr(torch.Tensor, "backward", counted("backward", backward))
    # Every pass, of the whole net or of a part, goes through the first convolution and the loss.
    first = point.run.model.get_submodule("1.linear")
    first.register_forward_hook(lambda *_: passes.__setitem__("forward", passes["forward"] + 1))
    losses = {"count": 0}
    cross_entropy = functional.cross_entropy

    def loss(*arguments, **named):
        losses["count"] += 1
        return cross_entropy(*arguments, **named)

    monkeypatch.setattr(functional, "cross_entropy", loss)
    plugins.load("probes", "along_gradient").measure(point, step_sizes=step_sizes)
    assert passes == {"forward": len(step_sizes) + 1, "backward": len(step_sizes) + 1}
    assert losses["count"] == len(step_sizes) + 1
