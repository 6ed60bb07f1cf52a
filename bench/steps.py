"""Training steps: against the plainest correct PyTorch loop, and against the floor."""

import itertools
from functools import partial

import torch
from _timing import Row, side_by_side, times
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from bnopt import plugins
from bnopt.run.run import Run, split
from bnopt.study import study
from bnopt.train import updater

NORMS = ("none", "batch", "l1", "l2", "linf", "noisy_batch")
CPU = torch.device("cpu")


def run_of(of_scale, condition, images):
    """Return the run of a condition at seed 0, and its learning rate."""
    of_run, settings = split(study.train_settings(of_scale, condition))
    return Run(images, **of_run, seed=0, device=CPU), settings["lr"]


def ours(run, lr):
    """Return a function that makes the next training step of the project."""
    update, steps = updater(run, lr=lr), itertools.count()

    def step():
        number = next(steps)
        run.set_noise(number)
        update(*run.batch(number))

    return step


def plain_vgg(norm, net, channels, side, classes):
    """Return the VGG-like net as a beginner would write it."""
    layers = []
    for size in net["convolutions"]:
        if size == "M":
            layers.append(nn.MaxPool2d(2))
            side //= 2
        else:
            layers += [nn.Conv2d(channels, size, 3, padding=1), norm.build(size), nn.ReLU()]
            channels = size
    layers.append(nn.Flatten())
    features = channels * side * side
    for size in net["hidden"]:
        layers += [nn.Linear(features, size), norm.build(size), nn.ReLU()]
        features = size
    return nn.Sequential(*layers, nn.Linear(features, classes))


def plain_task(run, norm, net):
    """Return the plain net, its data set and its loss function."""
    if run.task.__name__.endswith("vgg"):
        pixels, labels = run.data["train_images"], run.data["train_labels"]
        images = ((pixels.float() - run.data["mean"]) / run.data["std"]).contiguous()
        model = plain_vgg(norm, net, images.shape[1], images.shape[2], run.data["classes"])
        return model, TensorDataset(images, labels), nn.functional.cross_entropy
    return run.model, TensorDataset(*run.batch(0)), run.task.loss


def plainest(run, norm, net, lr):
    """Return a function that makes the next step of the plainest loop: DataLoader, SGD, `.item()`."""
    model, data, loss_of = plain_task(run, norm, net)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)

    def batches():
        while True:
            yield from DataLoader(data, batch_size=run.batch_size, shuffle=True, drop_last=True)

    following = batches()

    def step():
        inputs, targets = next(following)
        optimiser.zero_grad()
        loss = loss_of(model(inputs), targets)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def operations(step):
    """Return the floating-point operations of the matrix products and convolutions of one step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def product(dtype, size=512):
    """Return a square matrix product as a function, and its operations."""
    a = torch.randn(size, size, dtype=dtype)
    return partial(torch.mm, a, a), 2 * size**3


def rows(of_scale, images):
    """Yield a row per task and norm."""
    for task in of_scale["sizes"]:
        for norm in NORMS:
            condition = f"{task}_{norm}"
            if condition in of_scale["conditions"]:
                yield _row(of_scale, condition, images if task == "vgg" else None)


def _row(of_scale, condition, images):
    entry = of_scale["conditions"][condition]
    run, lr = run_of(of_scale, condition, images)
    net = study.train_settings(of_scale, condition)["net"]
    norm = plugins.load("norms", entry["norm"])
    plain_run, _ = run_of(of_scale, condition, images)
    plain = plainest(plain_run, norm, net, lr)
    count = operations(plain)
    dtype = next(run.model.parameters()).dtype
    multiply, of_product = product(dtype)
    own, other, unit = side_by_side(ours(run, lr), plain, multiply, repeats=5)
    floor = count / of_product * unit
    if run.fast_pass:  # one virtual sample per input and one for the mean take the place of all samples
        samples, inputs = run.batch(0)[0].shape
        floor *= (inputs + 1) / samples
    return Row(f"training step, {condition}", "plainest PyTorch loop", times(own / other), times(own / floor))
