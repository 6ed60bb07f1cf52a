"""Randomness is a function of (seed, stream, step); it has no state."""

import numpy as np
import pytest
import torch

from bnopt.run import streams


def epoch_batches(seed, epoch, samples, batch_size):
    per_epoch = samples // batch_size
    return [
        streams.batch_indices(seed, step, samples, batch_size).tolist()
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch)
    ]


@pytest.mark.parametrize(("samples", "batch_size"), [(24, 6), (25, 6), (29, 6), (6, 6), (11, 6)])
def test_an_epoch_is_whole_batches_of_distinct_samples(samples, batch_size):
    for epoch in range(3):
        batches = epoch_batches(0, epoch, samples, batch_size)
        assert [len(batch) for batch in batches] == [batch_size] * (samples // batch_size)
        seen = [index for batch in batches for index in batch]
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(range(samples))
        if samples % batch_size == 0:
            assert set(seen) == set(range(samples))


def test_the_samples_an_epoch_leaves_out_change():
    left_out = [
        tuple(set(range(25)) - {i for batch in epoch_batches(0, epoch, 25, 6) for i in batch})
        for epoch in range(30)
    ]
    assert all(len(left) == 1 for left in left_out)
    assert len(set(left_out)) > 5


def test_every_sample_is_equally_often_at_every_position():
    """The mean position of a sample over many epochs is the middle: the permutation has no bias."""
    epochs = 400
    mean = np.zeros(12)
    for epoch in range(epochs):
        order = [i for batch in epoch_batches(0, epoch, 12, 4) for i in batch]
        for position, sample in enumerate(order):
            mean[sample] += position / epochs
    # The standard deviation of such a mean is 3.45 / 20.
    np.testing.assert_allclose(mean, 5.5, atol=5 * 3.45 / 20)


def test_epochs_and_seeds_differ():
    orders = {
        (seed, epoch): tuple(i for batch in epoch_batches(seed, epoch, 30, 5) for i in batch)
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(set(orders.values())) == 16


def test_the_order_of_an_epoch_does_not_depend_on_the_batch_size():
    by_five = [i for batch in epoch_batches(3, 1, 30, 5) for i in batch]
    by_ten = [i for batch in epoch_batches(3, 1, 30, 10) for i in batch]
    assert by_five == by_ten


def test_a_batch_is_a_function_of_seed_and_step_whatever_was_requested_before():
    forwards = {step: streams.batch_indices(1, step, 25, 6).tolist() for step in range(20)}
    streams._order.cache_clear()
    for step in (19, 3, 11, 0, 3, 18, 7):
        for seed in (5, 6, 7):
            streams.batch_indices(seed, step, 25, 6)
        assert streams.batch_indices(1, step, 25, 6).tolist() == forwards[step]


def test_global_random_states_neither_matter_nor_change():
    first = streams.batch_indices(1, 7, 25, 6).tolist()
    streams._order.cache_clear()
    torch.manual_seed(123)
    state = torch.get_rng_state()
    assert streams.batch_indices(1, 7, 25, 6).tolist() == first
    torch.rand(3, generator=streams.generator(0, "weights", 1))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_is_a_function_of_seed_and_names():
    def draw(*stream):
        return tuple(torch.rand(4, generator=streams.generator(*stream)).tolist())

    names = [
        (0, "noise", 1, 2),
        (0, "noise", 2, 1),
        (0, "noise", 12),
        (0, "noise", 1),
        (1, "noise", 1, 2),
        (0, "order", 1, 2),
        (0, "weights", 1),
        (1, "weights", 0),
        (10, "weights"),
    ]
    draws = [draw(*name) for name in names]
    assert len(set(draws)) == len(names)
    assert [draw(*name) for name in names] == draws
