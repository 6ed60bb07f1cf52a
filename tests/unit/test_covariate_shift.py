"""Internal covariate shift: the literal Definition 2.1, the cost, and the mistakes of others."""

import copy

import numpy as np
import pytest
import torch

from bnopt.probes import covariate_shift

CASES = [("none", "vgg"), ("batch", "vgg"), ("noisy_batch", "vgg"), ("l1", "vgg"),
         ("none", "deep_linear"), ("batch", "deep_linear"), ("linf", "deep_linear")]  # fmt: skip


def all_layers(point):
    return {f"#{name}": int(name) for name, _ in point.run.model.named_children()}


def model_with(point, parameters):
    """Return a copy of the net with these parameters, the snapshot's buffers and the noise of the step."""
    point.run.set_noise(point.step)
    model = copy.deepcopy(point.run.model).train()
    state = dict(zip(point.names, parameters, strict=True)) | point.buffers
    model.load_state_dict({name: value.clone() for name, value in state.items()})
    return model


def gradients(point, parameters):
    """Return name -> gradient of every parameter, from an ordinary backward pass."""
    model = model_with(point, parameters)
    inputs, targets = point.run.batch(point.step)
    point.run.task.loss(model(inputs), targets).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def flat(gradient, layer, included=lambda name: True):
    chosen = [g for name, g in gradient.items() if name.split(".")[0] == str(layer) and included(name)]
    return torch.cat([g.flatten() for g in chosen]).double().numpy()


def literal(point, layer, *, update_own=False, moved=None, included=lambda name: True):
    """Return Definition 2.1 for one layer from two full backward passes; options: mistakes of others."""
    before = gradients(point, point.parameters)
    if moved is None:
        moved = [p - point.lr * before[name] for name, p in zip(point.names, point.parameters, strict=True)]
    last = layer if update_own else layer - 1
    mixed = [
        new if int(name.split(".")[0]) <= last and included(name) else old
        for name, old, new in zip(point.names, point.parameters, moved, strict=True)
    ]
    g, shifted = flat(before, layer), flat(gradients(point, mixed), layer)
    return {
        "difference": np.linalg.norm(g - shifted),
        "relative_difference": np.linalg.norm(g - shifted) / np.linalg.norm(g),
        "cosine": g @ shifted / np.linalg.norm(g) / np.linalg.norm(shifted),
        "gradient_length": np.linalg.norm(g),
    }


@pytest.mark.parametrize(("norm", "task"), CASES)
def test_every_layer_agrees_with_the_literal_definition(point_of, norm, task):
    point = point_of(norm, 3, task=task)
    rows = covariate_shift.measure(point, layers=all_layers(point))
    assert [row["layer"] for row in rows] == list(all_layers(point))
    tolerance = 1e-9 if task == "deep_linear" else 2e-3
    for row in rows[1:]:
        expected = literal(point, int(row["layer"][1:]))
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=tolerance, abs=1e-6 * abs(value)), (
                row["layer"],
                name,
            )


@pytest.mark.parametrize(("norm", "task"), CASES)
def test_layer_1_has_no_predecessors(point_of, norm, task):
    point = point_of(norm, 3, task=task)
    (row,) = covariate_shift.measure(point, layers={"#1": 1})
    assert row["difference"] <= 1e-5 * row["gradient_length"]
    assert row["cosine"] == pytest.approx(1, abs=1e-5)


def test_a_few_layers_give_the_same_rows_as_all(point_of):
    point = point_of("batch", 3)
    every = {row["layer"]: row for row in covariate_shift.measure(point, layers=all_layers(point))}
    for row in covariate_shift.measure(point, layers={"#2": 2, "#4": 4}):
        assert row == every[row["layer"]]


def test_all_layers_cost_about_half_as_many_full_passes(point_of):
    point = point_of("none", 3)
    layers = all_layers(point)
    k = len(layers)
    calls = []
    for number, child in point.run.model.named_children():
        child.register_forward_hook(lambda *_, number=number: calls.append(number))
    covariate_shift.measure(point, layers=layers)
    # g_t: k layers; G′ of layer i: k − i + 1 layers; the layers updated so far: one call each.
    assert len(calls) == k + k * (k + 1) // 2 + k


# -- mistakes of others, each of which gives another value -----------------------------------------


def mutants(point, layer):
    """Return mistake -> the values that it gives for a layer of a net with BatchNorm."""
    before = gradients(point, point.parameters)
    # Adam's first step is lr times the sign of the gradient, at Adam's usual rate.
    adam = [p - 1e-3 * before[name].sign() for name, p in zip(point.names, point.parameters, strict=True)]
    return {
        "layer i itself is updated": literal(point, layer, update_own=True),
        "Adam's step instead of the run's": literal(point, layer, moved=adam),
        "biases left behind": literal(point, layer, included=lambda name: name.endswith("linear.weight")),
    }


@pytest.mark.parametrize("layer", [3, 5])
def test_the_mistakes_of_others_give_other_values(point_of, layer):
    point = point_of("batch", 2)
    (row,) = covariate_shift.measure(point, layers={"": layer})
    assert row["difference"] == pytest.approx(literal(point, layer)["difference"], rel=3e-4)
    for mistake, wrong in mutants(point, layer).items():
        assert wrong["difference"] != pytest.approx(row["difference"], rel=3e-3), mistake


def test_other_noise_for_the_second_gradient_gives_another_value(point_of):
    point = point_of("noisy_batch", 2)
    (row,) = covariate_shift.measure(point, layers={"": 4})
    first = gradients(point, point.parameters)
    moved = [p - point.lr * first[n] for n, p in zip(point.names, point.parameters, strict=True)]
    mixed = [
        new if int(name.split(".")[0]) < 4 else old
        for name, old, new in zip(point.names, point.parameters, moved, strict=True)
    ]
    model = model_with(point, mixed)
    for module in model.modules():
        if hasattr(module, "stream"):
            module.stream = (point.seed, point.step + 1, module.stream[2])
    inputs, targets = point.run.batch(point.step)
    point.run.task.loss(model(inputs), targets).backward()
    second = {name: p.grad for name, p in model.named_parameters()}
    wrong = np.linalg.norm(flat(first, 4) - flat(second, 4))
    assert wrong != pytest.approx(row["difference"], rel=0.05)
