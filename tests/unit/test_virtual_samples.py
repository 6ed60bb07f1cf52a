"""Deep linear nets on virtual samples, against the net, its loss and autograd on all samples, in float64."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from bnopt import plugins
from bnopt.norms._lp_norm import LpNorm
from bnopt.norms.batch import BatchNorm
from bnopt.probes import along_gradient, covariate_shift, random_directions
from bnopt.run.point import Point
from bnopt.run.run import Run
from bnopt.run.vectors import difference, length
from bnopt.tasks import _virtual_samples, deep_linear
from bnopt.train import train, updater

NORMS = ["none", "batch", "l1", "l2", "linf"]
norms = pytest.mark.parametrize("norm", NORMS)
LR = 1e-6


def new_run(norm, *, samples=60, depth=8, fast=True):
    sizes = {"task": "deep_linear", "net": {"depth": depth}, "batch_size": samples}
    run = Run(None, **sizes, norm=norm, seed=0, device=torch.device("cpu"))
    if not fast:
        run.fast_pass = None
    return run


@torch.no_grad()
def randomised(run, seed=0):
    """Draw parameters and running averages: untrained nets have hidden layers whose means are zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in run.model.state_dict().items():
        draw = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        tensor.copy_(0.4 * draw if name.endswith("linear.weight") else 1 + 0.3 * draw)
    return run


def plain_pass(run):
    """Return name -> loss, gradient of each parameter, and buffer, after a pass of a copy of the net."""
    model = copy.deepcopy(run.model)
    inputs, targets = run.batch(0)
    loss = run.task.loss(model(inputs), targets)
    loss.backward()
    gradient = {name: p.grad for name, p in model.named_parameters()}
    return {"loss": loss.detach(), **gradient, **dict(model.named_buffers())}


def fast_pass(run):
    """Return the same, from the fast pass."""
    buffers = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
    parameters = [p.detach() for p in run.model.parameters()]
    loss, gradient = run.fast_pass(parameters, list(buffers.values()))
    names = [name for name, _ in run.model.named_parameters()]
    return {"loss": loss, **dict(zip(names, gradient, strict=True)), **buffers}


def discrepancies(run):
    """Return kind of tensor -> the relative discrepancy of the two passes, over all layers together."""
    fast, plain = fast_pass(run), plain_pass(run)
    assert {name: (t.shape, t.dtype) for name, t in fast.items()} == {
        name: (t.shape, t.dtype) for name, t in plain.items()
    }
    found = {}
    for kind in {name.lstrip("0123456789.") for name in plain}:
        a, b = ([t for name, t in of.items() if name.endswith(kind)] for of in (fast, plain))
        found[kind] = (length(difference(a, b)) / length(b)).item()
    return found


def agree(run, tolerance=1e-10):
    return all(value < tolerance for value in discrepancies(run).values())


# -- one pass --------------------------------------------------------------------------------------


@norms
# Units + 1 samples span what more do; fewer span less.
@pytest.mark.parametrize("samples", [2, 3, 10, 11, 12, 200])
def test_loss_gradient_and_running_statistics_are_those_of_all_samples(norm, samples):
    run = new_run(norm, samples=samples)
    assert run.fast_pass.inputs.shape == (min(samples, 11), 10)
    for seed in range(3):
        assert agree(randomised(run, seed)), discrepancies(run)


@norms
@pytest.mark.parametrize("eps", [0.0, 0.5])
def test_they_are_at_any_epsilon(norm, eps, monkeypatch):
    for module in (BatchNorm, LpNorm):
        monkeypatch.setattr(module, "eps", eps)
        monkeypatch.setattr(module, "momentum", 0.3)
    run = randomised(new_run(norm))
    assert agree(run), discrepancies(run)


@norms
def test_they_are_at_the_studys_depth_and_number_of_samples(norm):
    run = new_run(norm, samples=1000, depth=25)
    assert discrepancies(run)["loss"] < 1e-12
    assert agree(randomised(run)), discrepancies(run)


@norms
def test_a_unit_whose_outputs_are_all_zero_gets_the_gradient_of_autograd(norm):
    run = randomised(new_run(norm))
    with torch.no_grad():
        run.model.get_submodule("3.linear").weight[2] = 0
    assert agree(run), discrepancies(run)


# What a wrong form would do: factors that touch the mean alone, and the other moments alone.
MISTAKES = {
    "mean": lambda own: own.inputs.__setitem__(0, own.inputs[0] * (1 + 1e-6)),
    "mean of each layer": lambda own: setattr(own, "root", own.root * (1 + 1e-6)),
    "variation": lambda own: own.inputs.__setitem__(slice(1, None), own.inputs[1:] * (1 + 1e-6)),
}


@pytest.mark.parametrize(
    ("norm", "mistake"),
    # The plain net takes no mean.
    [pair for pair in itertools.product(NORMS, MISTAKES) if pair != ("none", "mean of each layer")],
)
def test_a_mistake_in_the_mean_or_in_the_variation_alone_would_be_noticed(norm, mistake):
    run = randomised(new_run(norm))
    MISTAKES[mistake](run.fast_pass)
    assert not agree(run)


@pytest.mark.parametrize(
    "norm", [norm for norm in NORMS if norm != "none"]
)  # the identity has no second form
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_mistake_in_one_result_of_a_norms_second_form_would_be_noticed(norm, part):
    run = randomised(new_run(norm))
    scale = run.fast_pass.scale

    def wrong(*arguments):
        results = list(scale(*arguments))
        results[part] = results[part] * (1 + 1e-6)
        return results

    run.fast_pass.scale = wrong
    assert not agree(run)


@norms
def test_stacked_nets_have_the_losses_and_gradients_of_each(norm):
    run = new_run(norm)
    nets = [[p.detach().clone() for p in randomised(run, seed).model.parameters()] for seed in range(3)]
    losses, gradients = run.fast_pass([torch.stack(tensors) for tensors in zip(*nets, strict=True)])
    for index, net in enumerate(nets):
        loss, gradient = run.fast_pass(net)
        assert losses[index].item() == pytest.approx(loss.item(), rel=1e-13)
        for stacked, alone in zip(gradients, gradient, strict=True):
            assert length([stacked[index] - alone]) <= 1e-10 * length([alone])


def test_a_pass_without_buffers_changes_nothing():
    run = randomised(new_run("batch"))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.fast_pass([p.detach() for p in run.model.parameters()])
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


# -- who has it ------------------------------------------------------------------------------------


def test_norms_with_a_second_form_have_it_and_all_others_take_the_plain_path():
    assert [name for name in plugins.names("norms") if new_run(name).fast_pass] == sorted(NORMS)


def test_gpus_take_the_plain_path():
    data = {name: torch.empty(5, 10, device="meta") for name in ("inputs", "targets")}
    norm = plugins.load("norms", "batch")
    assert deep_linear.fast_pass(norm, deep_linear.build(norm, data, depth=3, seed=0), data) is None


def test_virtual_samples_are_orthogonal_combinations_with_the_mean_first():
    inputs = new_run("none").data["inputs"].numpy()
    rotation = _virtual_samples.rotation(inputs)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(11), atol=1e-14)
    np.testing.assert_allclose(rotation @ (rotation.T @ inputs), inputs, atol=1e-13)
    np.testing.assert_allclose((rotation.T @ inputs)[0], math.sqrt(60) * inputs.mean(0), atol=1e-13)


# -- training --------------------------------------------------------------------------------------


@norms
def test_every_step_of_a_run_agrees_with_autograd_at_the_same_weights(norm):
    """The weights are those of the plain run: two runs of the plain net part by chaos."""
    run = new_run(norm, depth=25)
    fast_pass, run.fast_pass = run.fast_pass, None
    update = updater(run, lr=LR)
    parameters = list(run.model.parameters())
    for step in range(200):
        buffers = [buffer.clone() for buffer in run.model.buffers()]
        loss, gradient = fast_pass([p.detach() for p in parameters], buffers)
        expected, _ = update(*run.batch(step))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-11)
        of_plain = [p.grad for p in parameters]
        assert length(difference(gradient, of_plain)) < 1e-9 * length(of_plain)
        if buffers:
            of_plain = list(run.model.buffers())
            assert length(difference(buffers, of_plain)) < 1e-10 * length(of_plain)


@norms
@pytest.mark.parametrize("rate", [LR, 0.3 * LR])
def test_a_step_changes_the_net_as_a_plain_step_does(norm, rate):
    """Also at another rate than that of the run, as in a warm-up."""
    run, plain = randomised(new_run(norm)), randomised(new_run(norm, fast=False))
    loss, accuracy = updater(run, lr=LR)(*run.batch(0), rate)
    of_plain, nan = updater(plain, lr=rate)(*plain.batch(0))
    torch.testing.assert_close(loss, of_plain, rtol=1e-11, atol=0)
    assert math.isnan(accuracy)
    assert math.isnan(nan)
    before = randomised(new_run(norm)).model.state_dict()
    for name, expected in plain.model.state_dict().items():
        changed = expected - before[name]
        assert length([run.model.state_dict()[name] - expected]) < 1e-9 * length([changed]) + 1e-14


@pytest.mark.parametrize("norm", ["batch", "l1", "l2"])
def test_a_whole_run_stays_with_the_plain_one_if_it_is_not_chaotic(norm, tmp_path):
    """With few samples, runs with these norms are chaotic too."""
    settings = {"lr": LR, "steps": 60, "test_every": 30, "snapshot_every": 0}
    curves = [
        train(new_run(norm, samples=1000, depth=25, fast=fast), **settings, folder=tmp_path / str(fast))
        for fast in (True, False)
    ]
    np.testing.assert_allclose(*(curve["loss"][:-1] for curve in curves), rtol=1e-9)
    assert all(curve["accuracy"].isna().all() for curve in curves)


@norms
def test_a_run_diverges_at_the_step_of_the_plain_one(norm, tmp_path):
    settings = {"lr": 1e30, "steps": 8, "test_every": 4, "snapshot_every": 1}
    curves = [
        train(new_run(norm, fast=fast), **settings, folder=tmp_path / str(fast)) for fast in (True, False)
    ]
    assert curves[0]["diverged"].any()
    assert curves[0]["diverged"].equals(curves[1]["diverged"])
    files = [sorted(file.name for file in (tmp_path / str(fast)).glob("*.pt")) for fast in (True, False)]
    assert files[0] == files[1]


# -- probes ----------------------------------------------------------------------------------------

SIZES = [0.01, 0.1, 1, 10]
PROBES = {
    "along_gradient": lambda point: along_gradient.measure(point, step_sizes=SIZES),
    "random_directions": lambda point: random_directions.measure(point, step_sizes=SIZES, directions=2),
    "covariate_shift": lambda point: covariate_shift.measure(point, layers={"a": 1, "b": 4, "c": 8}),
}


def rows_of(norm, probe, *, fast, lr):
    run = randomised(new_run(norm, fast=fast))
    point = Point(run, run.model.state_dict(), step=3, lr=lr)
    return PROBES[probe](point)


@norms
@pytest.mark.parametrize("probe", PROBES)
def test_probes_have_the_rows_of_the_plain_path(norm, probe):
    rows, expected = (rows_of(norm, probe, fast=fast, lr=LR) for fast in (True, False))
    assert len(rows) == len(expected) > 2
    for row, of_plain in zip(rows, expected, strict=True):
        assert row.keys() == of_plain.keys()
        size = of_plain["gradient_length"]
        for name, value in of_plain.items():
            if not isinstance(value, str):
                # Differences of gradients are as exact as the gradients.
                slack = 1e-11 * size if name in ("gradient_change", "difference") else 1e-10
                value = pytest.approx(value, rel=1e-7, abs=slack)
            assert row[name] == value


@norms
def test_far_along_a_line_values_are_not_finite_where_those_of_the_plain_path_are_not(norm):
    rows, expected = (rows_of(norm, "along_gradient", fast=fast, lr=1e300) for fast in (True, False))
    for row, of_plain in zip(rows, expected, strict=True):
        for name in ("loss", "gradient_change"):
            assert math.isfinite(row[name]) == math.isfinite(of_plain[name])
    assert norm != "none" or not math.isfinite(rows[-1]["loss"])


@norms
def test_the_gradient_of_layer_1_does_not_shift_by_rounding(norm):
    run = randomised(new_run(norm))
    point = Point(run, run.model.state_dict(), step=0, lr=LR)
    (row,) = covariate_shift.measure(point, layers={"#1": 1})
    assert row["difference"] == 0
