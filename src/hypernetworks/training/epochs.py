"""Batches drawn in epochs: every example once, in an order of the epoch's own, before any comes again."""

import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.training.draws import generator


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
            order = torch.randperm(self.examples, generator=generator(self.seed, "order", epoch))
            self._epoch, self._order = epoch, order
        return self._order[number * self.batch_size : (number + 1) * self.batch_size]
