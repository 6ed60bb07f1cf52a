"""Vectors stored as lists of tensors."""

import math

import pytest
import torch

from bnopt.run import vectors


def tensors(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((3, 4), (5,), (2, 1, 2), ())]


def flat(values):
    return [v for t in values for v in t.double().flatten().tolist()]


def test_length_is_euclidean_over_all_entries():
    a = tensors(0, torch.float64)
    assert vectors.length(a).item() == pytest.approx(math.sqrt(math.fsum(v * v for v in flat(a))), rel=1e-14)


def test_difference_is_entry_by_entry():
    a, b = tensors(0), tensors(1)
    found = vectors.difference(a, b)
    assert flat(found) == pytest.approx([x - y for x, y in zip(flat(a), flat(b), strict=True)], rel=1e-6)
    assert [t.shape for t in found] == [t.shape for t in a]
    with pytest.raises(ValueError, match="zip"):
        vectors.difference(a, b[:-1])


def test_descend_equals_an_update_of_sgd_to_the_bit(device_name):
    parameters = [t.to(device_name).requires_grad_() for t in tensors(0)]
    gradient = [t.to(device_name) for t in tensors(1)]
    before = [p.detach().clone() for p in parameters]
    found = vectors.descend(before, gradient, 0.1)
    for parameter, g in zip(parameters, gradient, strict=True):
        parameter.grad = g
    torch.optim.SGD(parameters, lr=0.1).step()
    assert all(torch.equal(a, b) for a, b in zip(found, parameters, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(found, before, strict=True))


def test_descend_preserves_the_memory_layout_of_the_parameters_even_with_a_single_channel():
    weights = torch.randn(4, 1, 3, 3).to(memory_format=torch.channels_last)
    (found,) = vectors.descend([weights], [torch.ones(4, 1, 3, 3)], 0.1)
    assert found.stride() == weights.stride() != torch.ones(4, 1, 3, 3).stride()


def test_value_and_gradient_of_a_polynomial_are_exact_and_detached():
    at = [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)]
    value, gradient = vectors.value_and_gradient(lambda p: (p[0] ** 2).sum() * p[1], at)
    assert value.item() == 15
    assert flat(gradient) == [6, 12, 5]
    assert not any(t.requires_grad for t in (value, *gradient, *at))


def test_the_hessian_of_a_polynomial_is_exact_and_detached():
    at = [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)]
    value, gradient, product = vectors.value_gradient_and_hessian(lambda p: (p[0] ** 2).sum() * p[1], at)
    v = [torch.tensor([1.0, -1.0], dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)]
    curved = product(v)
    assert value.item() == 15
    assert flat(gradient) == [6, 12, 5]
    assert flat(curved) == [6 * 1 + 2 * 2, -6 + 4 * 2, 2 * 1 + 4 * -1]
    assert flat(product(v)) == flat(curved)
    assert not any(t.requires_grad for t in (value, *gradient, *curved, *at))


@pytest.mark.parametrize("linear_in", [[0], [0, 1]])
def test_the_hessian_of_a_loss_that_is_linear_in_some_parameters_has_zeros_there(linear_in):
    at = [torch.tensor([1.0, 2.0]), torch.tensor(3.0)]
    _, _, product = vectors.value_gradient_and_hessian(
        lambda p: p[0].sum() + (p[1] if 1 in linear_in else p[1] ** 2), at
    )
    curved = product([torch.tensor([1.0, 1.0]), torch.tensor(1.0)])
    assert flat(curved) == [0, 0, 0 if 1 in linear_in else 2]


def test_a_vector_is_cut_into_the_tensors_of_which_it_is_the_flat_form():
    a = [*tensors(0), torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last)]
    vector = vectors.flat(a)
    assert vector.dtype == torch.float64
    assert vector.tolist() == flat(a)
    found = vectors.parts(vector, a)
    assert all(torch.equal(x, y) and x.dtype == y.dtype for x, y in zip(found, a, strict=True))
    assert vectors.inner(a, a).item() == pytest.approx((vector @ vector).item(), rel=1e-6)


def test_cosine_is_that_of_the_flat_vectors_and_nan_for_a_zero_vector():
    a, b = tensors(0, torch.float64), tensors(1, torch.float64)
    product = math.fsum(x * y for x, y in zip(flat(a), flat(b), strict=True))
    lengths = [math.sqrt(math.fsum(x * x for x in flat(v))) for v in (a, b)]
    assert vectors.cosine(a, b).item() == pytest.approx(product / lengths[0] / lengths[1], rel=1e-13)
    assert vectors.cosine(a, [-2 * x for x in a]).item() == pytest.approx(-1, rel=1e-13)
    assert math.isnan(vectors.cosine(a, [0 * x for x in a]).item())
