"""The theorems with convolutions of small images as matrices, against the convolutions themselves."""

import math

import pytest
import torch
from torch import nn

from bnopt import plugins
from bnopt.probes import _matrix, theorems

NORMS = plugins.names("norms")
SETTINGS = {"layers": {"#2": 2, "#3": 3}, "units": 1, "every": 1, "samples": 6}
STEP = 8


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def convolution(inputs, outputs):
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, 3, padding=1).double()


def hessian_product(module, images):
    """Return the outputs of a module, and the gradient and a Hessian product of a function of them."""
    images = images.clone().requires_grad_()
    outputs = module(images)
    (gradient,) = torch.autograd.grad((outputs**3).sum(), images, create_graph=True)
    (product,) = torch.autograd.grad((gradient * draw(*images.shape)).sum(), images)
    return outputs, gradient, product


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_matrix_has_the_outputs_and_derivatives_of_its_convolution(layout):
    module, images = convolution(3, 5), draw(4, 3, 2, 4).contiguous(memory_format=layout)
    matrix = _matrix.MatrixMap(module, images.shape[1:])
    for found, expected in zip(*(hessian_product(m, images) for m in (matrix, module)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def kinds(modules, images):
    return [type(module) for module in _matrix.as_matrices(modules, images)]


def test_only_convolutions_of_small_images_on_the_cpu_become_matrices():
    modules = [convolution(2, 3), nn.MaxPool2d(2), nn.ReLU(), convolution(3, 70), convolution(70, 3)]
    # The last convolution has 70 x 16 inputs, too many for a matrix.
    plain = [nn.Conv2d, nn.MaxPool2d, nn.ReLU, nn.Conv2d, nn.Conv2d]
    small = [*plain[:3], _matrix.MatrixMap, nn.Conv2d]
    assert kinds(modules, draw(4, 2, 8, 8)) == small
    assert kinds(modules, draw(4, 2, 4, 4)) == [_matrix.MatrixMap, *plain[1:3], *[_matrix.MatrixMap] * 2]
    on_meta = nn.Sequential(*modules).to("meta")
    assert kinds(on_meta, torch.empty(4, 2, 8, 8, dtype=torch.float64, device="meta")) == plain


def rows_of(point, *, matrices):
    with pytest.MonkeyPatch.context() as patch:
        if not matrices:
            patch.setattr(_matrix, "MOST_PIXELS", 0)
        return theorems.measure(point, **SETTINGS)


def agree(found, expected):
    """Whether two lists of rows agree: numbers to 9 digits, or absolutely where they are near zero."""
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for row, of_plain in zip(found, expected, strict=True):
        for name, value in of_plain.items():
            # The smallest eigenvalue of a semi-definite Hessian is a rounding error of the largest.
            slack = 1e-9 * max(1.0, of_plain["thm4.2_max_eigenvalue"]) if "eigenvalue" in name else 1e-11
            if not isinstance(value, str) and not math.isclose(row[name], value, rel_tol=1e-9, abs_tol=slack):
                return False
    return True


@pytest.mark.parametrize("norm", NORMS)
def test_the_theorems_have_the_rows_of_the_convolutions(point_of, norm):
    # The small net with `divide` dies after a few steps: there, nothing would be left to compare.
    point = point_of(norm, 0 if norm == "divide" else STEP)
    expected = rows_of(point, matrices=False)
    assert len(expected) >= 2
    assert agree(rows_of(point, matrices=True), expected)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("part", ["matrix", "offset"])
def test_a_wrong_matrix_would_be_noticed(point_of, monkeypatch, norm, part):
    forward = _matrix.MatrixMap.forward

    def wrong(module, inputs):
        setattr(module, part, getattr(module, part) + 1e-6)
        return forward(module, inputs)

    point = point_of(norm, STEP)
    expected = rows_of(point, matrices=False)
    monkeypatch.setattr(_matrix.MatrixMap, "forward", wrong)
    # Batch normalisation removes an offset.
    assert agree(rows_of(point, matrices=True), expected) == (norm == "batch" and part == "offset")
