"""Probes on one snapshot: against the definition taken literally, and against the plain path."""

import copy
from functools import partial
from unittest import mock

import torch
from _timing import Row, side_by_side, times
from steps import NORMS, ours, run_of
from torch import nn

from bnopt import plugins
from bnopt.probes import _matrix
from bnopt.run.point import Point
from bnopt.run.vectors import descend, value_and_gradient
from bnopt.study import study
from bnopt.tasks._convolution import Convolution

ON_VIRTUAL_SAMPLES = ("along_gradient", "random_directions", "covariate_shift")


def point_of(of_scale, condition, images, *, fast=True):
    """Return the untrained net of a condition as a point."""
    run, lr = run_of(of_scale, condition, images)
    if not fast:
        run.fast_pass = None
    state = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    return Point(run, state, step=0, lr=lr)


def probe_of(of_scale, condition, name, point):
    """Return a function that measures a probe on a point."""
    given = study.probe_settings(of_scale, condition, name)["settings"]
    return partial(plugins.load("probes", name).measure, point, **given)


def deep_copies(point, step_sizes):
    """Measure along the gradient with a deep copy of the net per step size: k + 1 whole passes."""
    inputs, targets = point.run.batch(point.step)

    def gradient_of(model):
        model.zero_grad()
        loss = point.run.task.loss(model(inputs), targets)
        loss.backward()
        return loss.item(), [p.grad.clone() for p in model.parameters()]

    _, first = gradient_of(copy.deepcopy(point.run.model))
    for size in step_sizes:
        model = copy.deepcopy(point.run.model)
        with torch.no_grad():
            for parameter, slope in zip(model.parameters(), first, strict=True):
                parameter -= size * point.lr * slope
        _, gradient = gradient_of(model)
        torch.cat([(a - b).flatten() for a, b in zip(gradient, first, strict=True)]).norm().item()


def shift_taken_literally(point, layers):
    """Measure the covariate shift with a whole pass per layer, all layers below it updated."""
    _, gradient = value_and_gradient(point.loss, point.parameters)
    updated = descend(point.parameters, gradient, point.lr)
    for layer in layers:
        mixed = [
            new if int(name.split(".")[0]) < layer else old
            for name, old, new in zip(point.names, point.parameters, updated, strict=True)
        ]
        value_and_gradient(point.loss, mixed)


def rows(of_scale, images):
    """Yield the rows of the VGG, then those of the deep linear nets."""
    if "vgg" in of_scale["sizes"]:
        for condition in ("vgg_none", "vgg_batch"):
            yield _along_the_gradient(of_scale, condition, images)
            yield _covariate_shift(of_scale, condition, images)
            yield from _small_images(of_scale, condition, images)
    if "deep_linear" in of_scale["sizes"]:
        for norm in NORMS:
            if f"deep_linear_{norm}" in of_scale["conditions"]:
                yield from _virtual_samples(of_scale, f"deep_linear_{norm}")


def _along_the_gradient(of_scale, condition, images):
    point = point_of(of_scale, condition, images)
    sizes = study.probe_settings(of_scale, condition, "along_gradient")["settings"]["step_sizes"]
    probe = probe_of(of_scale, condition, "along_gradient", point)
    own, other = side_by_side(probe, partial(deep_copies, point, sizes))
    against = f"deep copies, {len(sizes)} + 1 whole passes"
    return Row(f"along the gradient, {condition}", against, times(own / other))


def _covariate_shift(of_scale, condition, images):
    point = point_of(of_scale, condition, images)
    layers = study.probe_settings(of_scale, condition, "covariate_shift")["settings"]["layers"]
    probe = probe_of(of_scale, condition, "covariate_shift", point)
    own, other = side_by_side(probe, partial(shift_taken_literally, point, layers.values()))
    against = f"the definition, {len(layers)} + 1 whole passes"
    return Row(f"covariate shift, {condition}", against, times(own / other))


def plainly(call):
    """Make a call while all convolutions of the VGG take the plain path."""
    with (
        mock.patch.object(Convolution, "forward", nn.Conv2d.forward),
        mock.patch.object(_matrix, "MOST_PIXELS", 0),
    ):
        call()


def _small_images(of_scale, condition, images):
    """Yield a step and the theorems, with convolutions of small images as products, against plain ones."""
    steps = [ours(*run_of(of_scale, condition, images)) for _ in range(2)]
    own, other = side_by_side(steps[0], partial(plainly, steps[1]), repeats=5)
    yield Row(f"step, small images as products, {condition}", "plain convolutions", times(own / other))
    probe = probe_of(of_scale, condition, "theorems", point_of(of_scale, condition, images))
    own, other = side_by_side(probe, partial(plainly, probe))
    yield Row(f"theorems, small images as products, {condition}", "plain convolutions", times(own / other))


def _virtual_samples(of_scale, condition):
    """Yield the step and the probes of a deep linear net that has a fast pass, against the plain path."""
    fast, plain = (point_of(of_scale, condition, None, fast=choice) for choice in (True, False))
    if not fast.run.fast_pass:
        return
    steps = [ours(point.run, point.lr) for point in (fast, plain)]
    own, other = side_by_side(*steps, repeats=5)
    yield Row(f"step on virtual samples, {condition}", "plain path", times(own / other))
    for name in ON_VIRTUAL_SAMPLES:
        if condition in of_scale["tables"].get(name, ()):
            own, other = side_by_side(
                *(probe_of(of_scale, condition, name, point) for point in (fast, plain))
            )
            yield Row(f"{name} on virtual samples, {condition}", "plain path", times(own / other))
