"""Batches drawn in epochs: every example once, in an order of the epoch's own, before any comes again."""

import torch
from torch import Tensor

from hypernetworks.training.errors import UsageError


class Epochs:
    """Which examples each step reads. The order hangs on seed and epoch alone, so a run that goes on needs nothing kept.

    Args:
        examples: N, how many there are.
        batch_size: B, how many a step reads; the last N mod B of an epoch's order are left out of it.
        seed: the run's.

    Raises:
        UsageError: there are fewer examples than one batch has.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        if examples < batch_size:
            raise UsageError(
                f"batch_size should be at most the number of training examples, {examples}, got {batch_size}"
            )
        self.examples, self.batch_size, self.seed = examples, batch_size, seed
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int) -> Tensor:
        """The places of the examples that step number `step` (from 0) reads, (B,), int64."""
        epoch, number = divmod(step, self.examples // self.batch_size)
        if epoch != self._epoch:
            # A generator's seeds have 64 bits; the factor, odd, keeps the epochs of neighbouring seeds apart.
            seed = (self.seed * 0x9E3779B97F4A7C15 + epoch) % 2**64
            order = torch.randperm(self.examples, generator=torch.Generator().manual_seed(seed))
            self._epoch, self._order = epoch, order
        return self._order[number * self.batch_size : (number + 1) * self.batch_size]
