"""A text as parallel streams, for truncated backpropagation through time.

The text is a ring. Stream b of B starts at character b·⌊N/B⌋, and all streams advance by T characters per step. A stream
that reaches the end of its part continues in the next one, so the characters of a step always follow those of the step
before and a carried state always fits, except from the last character of the text to the first. What a step reads depends
only on its number.

N characters, B streams, T characters a step.
"""

import torch
from torch import Tensor

from hypernetworks.errors import UsageError


class Streams:
    """Batches of a text, one per step.

    Args:
        ids: the text as symbol ids, (N,).
        batch_size: B, the number of streams.
        length: T, the characters that each stream reads in a step; gradients flow back through at most T characters.

    Raises:
        UsageError: the text is shorter than one batch.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int) -> None:
        if len(ids) < batch_size * length + 1:
            raise UsageError(
                f"the training text has {len(ids):,} characters, fewer than one batch: batch_size {batch_size} times "
                f"length {length}, plus one to predict, is {batch_size * length + 1:,}"
            )
        self.ids = ids
        self.length = length
        self._places = torch.arange(length + 1).unsqueeze(1) + torch.arange(batch_size) * (len(ids) // batch_size)

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """What these streams read and predict in step `step` (from 0), each (T, streams), int64."""
        read = self.ids[(self._places[:, part] + step * self.length) % len(self.ids)].long()
        return read[:-1], read[1:]
