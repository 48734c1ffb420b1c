"""Batches in epochs: every example once per epoch, in a random order."""

import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.training.random import generator


class Epochs:
    """The examples that each step reads. The order depends only on seed and epoch, so a resumed run needs no stored state.

    Args:
        examples: N, the number of examples.
        batch_size: B, examples per step. The last N mod B examples of an epoch's order are not read in that epoch.
        seed: the seed of the run.

    Raises:
        UsageError: there are fewer examples than batch_size.
    """

    def __init__(self, examples: int, batch_size: int, seed: int) -> None:
        if examples < batch_size:
            raise UsageError(
                f"batch_size should be at most the number of training examples, {examples}, got {batch_size}"
            )
        self.examples: int = examples
        self.batch_size: int = batch_size
        self.seed: int = seed
        self._epoch, self._order = -1, torch.empty(0)

    def batch(self, step: int) -> Tensor:
        """The indices of the examples that step `step` (from 0) reads, (B,), int64."""
        epoch, number = divmod(step, self.examples // self.batch_size)
        if epoch != self._epoch:
            order = torch.randperm(self.examples, generator=generator(self.seed, "order", epoch))
            self._epoch, self._order = epoch, order
        return self._order[number * self.batch_size : (number + 1) * self.batch_size]
