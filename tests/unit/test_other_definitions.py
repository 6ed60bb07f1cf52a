"""Quantities of others under the paper's names: computed as they do, and different from the paper's."""

import copy
import math

import pandas as pd
import pytest

from bnopt import rate_spread
from bnopt.probes import along_gradient, other_definitions
from bnopt.quantities import rate_spread as spread_quantities

SIZES = [0.5, 1, 2, 4]


def gradient(point, parameters, *, training=True, step=None):
    """Return the gradient from an ordinary backward pass through a copy of the net."""
    step = point.step if step is None else step
    point.run.set_noise(step)
    model = copy.deepcopy(point.run.model).train(training)
    state = dict(zip(point.names, parameters, strict=True)) | point.buffers
    model.load_state_dict({name: value.clone() for name, value in state.items()})
    inputs, targets = point.run.batch(step)
    point.run.task.loss(model(inputs), targets).backward()
    return [p.grad.clone() for p in model.parameters()]


def length(vector):
    return math.sqrt(sum(float((v.double() ** 2).sum()) for v in vector))


def minus(a, b, factor=1):
    return [x - factor * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_each_value_agrees_with_its_own_definition(point_of, norm):
    point = point_of(norm, 4)
    (row,) = other_definitions.measure(point, step_sizes=SIZES)
    g = gradient(point, point.parameters, training=False)
    changes = {
        size: length(minus(gradient(point, minus(point.parameters, g, size * point.lr), training=False), g))
        for size in SIZES
    }
    assert row["predictiveness_evaluation"] == pytest.approx(max(changes.values()), rel=1e-3)
    betas = [change / (size * point.lr * length(g)) for size, change in changes.items()]
    assert row["beta_evaluation"] == pytest.approx(max(betas), rel=1e-3)
    own = gradient(point, point.parameters)
    following = gradient(point, minus(point.parameters, own, point.lr), step=point.step + 1)
    assert row["consecutive_change"] == pytest.approx(length(minus(following, own)), rel=1e-3)


def test_with_batchnorm_they_differ_from_the_papers(point_of):
    point = point_of("batch", 4)
    (others,) = other_definitions.measure(point, step_sizes=SIZES)
    right = max(row["gradient_change"] for row in along_gradient.measure(point, step_sizes=SIZES))
    assert others["predictiveness_evaluation"] != pytest.approx(right, rel=0.05)
    assert others["consecutive_change"] != pytest.approx(right, rel=0.05)


def test_the_net_is_back_in_training_mode(point_of):
    point = point_of("batch", 4)
    other_definitions.measure(point, step_sizes=SIZES)
    assert all(module.training for module in point.run.model.modules())


def test_the_spread_over_rates_is_the_width_over_runs_at_a_step():
    curves = [
        pd.DataFrame({"step": [0, 1, 2], "loss": losses})
        for losses in ([2.0, 1.0, math.nan], [2.5, 0.5, math.nan], [2.0, math.inf, math.nan])
    ]
    table = rate_spread.spread(curves)
    assert table.to_dict("list") == {
        "step": [0, 1], "loss_min": [2.0, 0.5], "loss_max": [2.5, math.inf],
    }  # fmt: skip
    values = spread_quantities.per_step(table.assign(condition="c", seed=0))
    assert values["loss_variation"].tolist() == [0.5, math.inf]


def test_the_spread_over_rates_is_not_the_loss_along_the_gradient(run_of, point_of):
    curves = [run_of("batch", lr=lr).curve for lr in (0.05, 0.1, 0.4)]
    table = rate_spread.spread(curves).set_index("step")
    losses = [row["loss"] for row in along_gradient.measure(point_of("batch", 4), step_sizes=SIZES)]
    spread = table.loc[4, "loss_max"] - table.loc[4, "loss_min"]
    assert spread != pytest.approx(max(losses) - min(losses), rel=0.05)
