"""The landscape along random directions."""

import math

import pytest
import torch

from bnopt.probes import random_directions

UNIT = [torch.tensor([1.0])]


def test_rows_agree_with_a_plain_walk_along_the_drawn_directions(point_of):
    point = point_of("batch", 3)
    rows = random_directions.measure(point, step_sizes=[0.5, 2], directions=2)
    assert [(row["direction"], row["eta"]) for row in rows] == [
        (f"{number}{sign}", pytest.approx(size * point.lr))
        for number in range(2) for sign in "+-" for size in (0.5, 2)
    ]  # fmt: skip

    leaves = [p.clone().requires_grad_() for p in point.parameters]
    g = torch.autograd.grad(point.loss(leaves), leaves)
    length = math.sqrt(sum(float((x.double() ** 2).sum()) for x in g))
    for row in rows:
        number, sign = int(row["direction"][0]), {"+": 1, "-": -1}[row["direction"][1]]
        drawn = random_directions._draw(point, number, like=g)
        moved = [
            (p - row["eta"] * sign * d).requires_grad_() for p, d in zip(point.parameters, drawn, strict=True)
        ]
        loss = point.loss(moved)
        there = torch.autograd.grad(loss, moved)
        change = math.sqrt(sum(float(((x - y).double() ** 2).sum()) for x, y in zip(there, g, strict=True)))
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert row["gradient_change"] == pytest.approx(change, rel=1e-3)
        assert row["gradient_length"] == pytest.approx(length, rel=1e-5)


def test_a_direction_is_gaussian_and_as_long_as_the_gradient(point_of):
    point = point_of("none", 3)
    drawn = random_directions._draw(point, 0, like=[torch.tensor([1.0, -2.0]), torch.tensor([[2.0]])])
    flat = torch.cat([d.flatten() for d in drawn])
    assert flat.norm().item() == pytest.approx(3, rel=1e-5)
    standard = flat / flat.std()
    assert abs(standard.mean()) < 0.1
    assert (standard.abs() < 1).float().mean().item() == pytest.approx(0.683, abs=0.04)


def test_conditions_share_the_draw_of_the_parameters_they_share(point_of):
    plain, batch = point_of("none", 3), point_of("batch", 3)
    of_plain = dict(zip(plain.names, random_directions._draw(plain, 1, like=UNIT), strict=True))
    of_batch = dict(zip(batch.names, random_directions._draw(batch, 1, like=UNIT), strict=True))
    assert set(of_plain) < set(of_batch)
    ratios = [of_batch[name] / of_plain[name] for name in of_plain]
    # The draws agree up to the factor that sets the length.
    assert all(torch.allclose(ratio, ratios[0].flatten()[0].expand_as(ratio)) for ratio in ratios)


def test_steps_directions_and_seeds_have_different_draws(point_of):
    def draw(step=3, seed=0, number=0):
        return random_directions._draw(point_of("none", step, seed=seed), number, like=UNIT)[0]

    draws = [draw(), draw(step=4), draw(seed=1), draw(number=1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
