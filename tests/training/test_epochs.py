"""Batches in epochs: every example once, in an order that depends only on seed and epoch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hypernetworks.errors import UsageError
from hypernetworks.training.epochs import Epochs


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**63 - 1))
def test_each_epoch_has_every_example_at_most_once_and_any_step_can_be_asked_for(N: int, B: int, seed: int) -> None:
    N = max(N, B)
    epochs, steps = Epochs(N, B, seed), N // B
    batches = [epochs.batch(step) for step in range(3 * steps)]
    for epoch in range(3):
        read = torch.cat(batches[epoch * steps : (epoch + 1) * steps])
        assert len(read) == steps * B
        assert len(set(read.tolist())) == len(read)
        assert set(read.tolist()) <= set(range(N))
    for step in reversed(range(3 * steps)):
        assert torch.equal(Epochs(N, B, seed).batch(step), batches[step])


def test_orders_differ_between_epochs_and_seeds() -> None:
    orders = {tuple(Epochs(50, 50, seed).batch(step).tolist()) for seed in range(5) for step in range(5)}
    assert len(orders) == 25


def test_fewer_examples_than_a_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="batch_size should be at most the number of training examples, 3, got 4"):
        Epochs(3, 4, 0)
