"""The norms against those of torch, against the formula, and against Algorithm 1 written as loops."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from bnopt.norms import batch, noise, noisy_batch, none
from bnopt.run import streams

SHAPES = [(16, 5), (6, 5, 4, 3)]
DTYPES = [torch.float32, torch.float64]


def values(shape, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, shape[1] + 1).view(1, -1, *[1] * (len(shape) - 2))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) * scale + scale).to(dtype)


def torch_batch_norm(shape, dtype):
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    return kind(shape[1]).to(dtype)


def with_random_parameters(*modules):
    weight, bias = values((2, 5), seed=99)
    for module in modules:
        with torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(bias)


# -- none -----------------------------------------------------------------------------------------


def test_none_is_the_identity_without_parameters():
    module = none.build(5)
    y = values((4, 5), seed=0)
    assert module(y) is y
    assert not module.state_dict()


# -- batch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_equals_torchs_batch_norm_over_training_steps_and_in_evaluation(shape, dtype):
    ours, theirs = batch.build(5).to(dtype), torch_batch_norm(shape, dtype)
    with_random_parameters(ours, theirs)
    for step in range(4):
        y = values(shape, step, dtype)
        upstream = values(shape, 100 + step, dtype)
        results = []
        for module in (ours, theirs):
            leaf = y.clone().requires_grad_()
            module.zero_grad()
            output = module(leaf)
            output.backward(upstream)
            results.append((output, leaf.grad, module.weight.grad, module.bias.grad))
        for mine, reference in zip(*results, strict=True):
            torch.testing.assert_close(mine, reference)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)

    y = values(shape, 50, dtype)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    torch.testing.assert_close(ours.eval()(y), theirs.eval()(y))
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_is_the_formula_with_biased_variance(shape):
    module = batch.build(5).double()
    with_random_parameters(module)
    y = values(shape, seed=3)
    output = module(y).detach().numpy()
    for unit in range(shape[1]):
        of_unit = y[:, unit].numpy()
        count = of_unit.size
        mean = math.fsum(of_unit.flat) / count
        variance = math.fsum((v - mean) ** 2 for v in of_unit.flat) / count
        gamma, beta = module.weight[unit].item(), module.bias[unit].item()
        expected = gamma * (of_unit - mean) / math.sqrt(variance + 1e-5) + beta
        np.testing.assert_allclose(output[:, unit], expected, rtol=1e-10)
        assert module.running_mean[unit].item() == pytest.approx(0.1 * mean)
        unbiased = variance * count / (count - 1)
        assert module.running_var[unit].item() == pytest.approx(0.9 + 0.1 * unbiased)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5, 1e10, 1e15])
def test_batch_in_float32_and_channels_last_is_near_float64_however_large_the_values(device_name, scale):
    exact, module = (batch.build(5).to(device_name, dtype) for dtype in (torch.float64, torch.float32))
    y = scale * values((8, 5, 4, 4), seed=3)
    upstream = values((8, 5, 4, 4), seed=4)
    results = []
    for norm, dtype in ((exact, torch.float64), (module, torch.float32)):
        leaf = y.to(device_name, dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
        output = norm(leaf)
        output.backward(upstream.to(device_name, dtype))
        results.append((output.detach().cpu().double(), scale * leaf.grad.cpu().double()))
    for found, expected in zip(results[1], results[0], strict=True):
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_batch_starts_with_gamma_one_and_beta_zero():
    state = batch.build(7).state_dict()
    assert torch.equal(state["weight"], torch.ones(7))
    assert torch.equal(state["bias"], torch.zeros(7))


# -- noise: Algorithm 1 ---------------------------------------------------------------------------


def draw(shape, stream, dtype=torch.float64):
    """Return m and s of every value; the output for a = 0 is m, and for a = 1 it is s + m."""
    module = noise.build(shape[1])
    module.stream = stream
    offset = module(torch.zeros(shape, dtype=dtype))
    return offset, module(torch.ones(shape, dtype=dtype)) - offset


def algorithm_1(shape, random):
    """Draw the noise of Algorithm 1 with loops; return m and s of every value."""
    samples, units, positions = shape[0], shape[1], math.prod(shape[2:])
    m, s = np.empty((2, samples, units, positions))
    for j in range(units):
        mu, sigma = random.uniform(-0.5, 0.5), random.uniform(1, 1.25)
        for i in range(samples):
            for k in range(positions):
                m[i, j, k] = random.uniform(mu - 0.1, mu + 0.1)
                s[i, j, k] = random.normal(sigma, 0.1)
    return m.reshape(shape), s.reshape(shape)


def by_unit(values):
    """Return the values as an array (units, values)."""
    return np.moveaxis(np.asarray(values), 1, 0).reshape(values.shape[1], -1)


@pytest.mark.parametrize("shape", [(4000, 6), (60, 6, 8, 8)])
def test_noise_of_a_unit_is_uniform_and_normal_around_the_units_own_mean_and_scale(shape):
    offset, scale = (by_unit(v) for v in draw(shape, stream=(0, 3, 2)))
    for m, s in zip(offset, scale, strict=True):
        assert np.ptp(m) <= 0.2 + 1e-12
        centre = (m.min() + m.max()) / 2
        assert abs(centre) <= 0.5
        assert stats.kstest(m, stats.uniform(centre - 0.1, 0.2).cdf).pvalue > 1e-3
        assert 1 - 0.01 <= s.mean() <= 1.25 + 0.01
        assert s.std() == pytest.approx(0.1, rel=0.05)
        assert stats.kstest(s, stats.norm(s.mean(), s.std()).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(m, s)[0, 1]) < 0.06


def test_means_and_scales_of_units_are_uniform_over_the_papers_ranges_and_independent():
    offset, scale = draw((400, 600), stream=(1, 0, 1))
    centres = (offset.amin(0) + offset.amax(0)).numpy() / 2
    scales = scale.mean(0).numpy()
    assert -0.5 <= centres.min() < -0.48
    assert 0.48 < centres.max() <= 0.5
    assert 1 - 0.02 <= scales.min() < 1.02
    assert 1.23 < scales.max() <= 1.25 + 0.02
    assert stats.kstest(centres, stats.uniform(-0.5, 1).cdf).pvalue > 1e-3
    # The mean of 400 scales of a unit deviates by 0.005 from σ, much less than the range of 0.25.
    assert stats.kstest(scales, stats.uniform(1, 0.25).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(centres, scales)[0, 1]) < 0.15


@pytest.mark.parametrize("shape", [(12, 40), (4, 40, 2, 2)])
def test_noise_has_the_distribution_of_algorithm_1_written_as_loops(shape):
    random = np.random.default_rng(0)
    ours = [draw(shape, stream=(0, step, 1)) for step in range(30)]
    theirs = [algorithm_1(shape, random) for _ in range(30)]
    for moment in (np.mean, np.std):  # of the m and of the s of a unit
        for which in (0, 1):
            a, b = (
                np.concatenate([moment(by_unit(drawn[which]), axis=1) for drawn in draws])
                for draws in (ours, theirs)
            )
            assert stats.ks_2samp(a, b).pvalue > 1e-3, (moment.__name__, "ms"[which])
    for at in (-1, 0, 2):  # s·a + m; values of a unit are dependent, so no test for independent values
        a, b = (np.concatenate([by_unit(s) * at + by_unit(m) for m, s in draws]) for draws in (ours, theirs))
        assert a.mean() == pytest.approx(b.mean(), abs=0.06), at
        assert a.std() == pytest.approx(b.std(), rel=0.05), at


def test_every_value_has_its_own_draw():
    offset, scale = draw((8, 5, 3, 3), stream=(0, 0, 1))
    for drawn in (offset, scale):
        assert len(np.unique(drawn.numpy())) == drawn.numel()


def test_noise_scales_its_input_and_adds_an_offset():
    shape = (8, 5, 3, 3)
    module = noise.build(5)
    module.stream = (4, 7, 2)
    offset, scale = draw(shape, stream=(4, 7, 2))
    y = values(shape, seed=1).requires_grad_()
    output = module(y)
    torch.testing.assert_close(output, scale * y + offset)
    output.sum().backward()
    torch.testing.assert_close(y.grad, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_of_one_stream_is_bitwise_the_same_and_other_streams_differ(shape, dtype):
    module = noise.build(5)
    y = values(shape, 0, dtype)

    def output(stream):
        module.stream = stream
        return module(y)

    first = output((0, 3, 2))
    for other in ((1, 3, 2), (0, 4, 2), (0, 3, 1), (0, 2, 3), (3, 0, 2)):
        assert not torch.equal(output(other), first)
    assert torch.equal(output((0, 3, 2)), first)
    torch.manual_seed(5)
    assert torch.equal(output((0, 3, 2)), first)
    assert output((0, 3, 2)).dtype == dtype


def test_noise_draws_new_means_for_every_step_and_layer():
    centres = []
    for stream in ((0, 0, 1), (0, 1, 1), (0, 0, 2), (1, 0, 1)):
        offset, _ = draw((200, 50), stream)
        centres.append(offset.mean(0).numpy())
    correlations = np.corrcoef(centres)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_noise_has_the_same_bits_in_every_memory_layout_and_keeps_it(layout, dtype):
    module = noise.build(5)
    module.stream = (4, 7, 2)
    y = values((6, 5, 4, 3), seed=1, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    generator = streams.generator(4, "noise", 7, 2)
    mean, scale = (torch.rand(1, 5, 1, 1, generator=generator, dtype=dtype) for _ in range(2))
    mean, scale = -0.5 + (0.5 - -0.5) * mean, 1 + (1.25 - 1) * scale
    low, high = mean - 0.1, mean + 0.1
    offset = low + (high - low) * torch.rand(y.shape, generator=generator, dtype=dtype)
    factor = scale + 0.1 * torch.randn(y.shape, generator=generator, dtype=dtype)
    output = module(y)
    output.backward(torch.ones_like(y))
    assert torch.equal(output, factor * y + offset)
    assert torch.equal(y.grad, factor)
    assert output.stride() == y.stride()


def test_noise_does_not_change_the_global_random_state():
    before = torch.get_rng_state()
    draw((8, 5), stream=(0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_off_in_evaluation(shape):
    module = noise.build(5).eval()
    y = values(shape, seed=0)
    assert torch.equal(module(y), y)


# -- noisy batch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_noisy_batch_is_noise_on_the_output_of_batch(shape):
    both = noisy_batch.build(5)
    plain, disturb = batch.build(5), noise.build(5)
    stream = (2, 9, 4)
    disturb.stream = stream
    for module in both.modules():
        if hasattr(module, "stream"):
            module.stream = stream
    for step in range(3):
        y = values(shape, step, torch.float32)
        assert torch.equal(both(y), disturb(plain(y)))
    y = values(shape, 9, torch.float32)
    assert torch.equal(both.eval()(y), plain.eval()(y))
    assert len(list(both.parameters())) == 2
