"""A text as parallel streams, for truncated backpropagation through time.

The text is a ring. Stream b of B starts at character b·⌊N/B⌋, and all streams advance by T characters per step. A stream
that reaches the end of its part continues in the next one, so the characters of a step always follow those of the step
before and a carried state always fits, except from the last character of the text to the first. What a step reads depends
only on its number.

With random offsets, the ring is turned by a random number of characters before each pass over the text, so that the cuts
between steps fall on other places in every pass. The first step of a pass then does not follow the step before.

N characters, B streams, T characters a step.
"""

import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.training.random import generator


class Streams:
    """Batches of a text, one per step.

    Args:
        ids: the text as symbol ids, (N,).
        batch_size: B, the number of streams.
        length: T, the characters that each stream reads in a step; gradients flow back through at most T characters.
        offset_seed: seeds the random offsets of the passes; None: no offsets.

    Raises:
        UsageError: the text is shorter than one batch.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int, offset_seed: int | None = None) -> None:
        if len(ids) < batch_size * length + 1:
            raise UsageError(
                f"the training text has {len(ids):,} symbols, fewer than one batch: batch_size {batch_size} times "
                f"length {length}, plus one to predict, is {batch_size * length + 1:,}"
            )
        self.ids = ids
        self.length = length
        self.offset_seed = offset_seed
        self.steps_per_pass: int = len(ids) // (batch_size * length)
        self._places = torch.arange(length + 1).unsqueeze(1) + torch.arange(batch_size) * (len(ids) // batch_size)

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """What these streams read and predict in step `step` (from 0), each (T, streams), int64."""
        start = step * self.length if self.offset_seed is None else self._offset(*divmod(step, self.steps_per_pass))
        read = self.ids[(self._places[:, part] + start) % len(self.ids)].long()
        return read[:-1], read[1:]

    def follows(self, step: int) -> bool:
        """Whether the characters of a step follow those of the step before."""
        return self.offset_seed is None or step % self.steps_per_pass != 0

    def _offset(self, number: int, step: int) -> int:
        """Where stream 0 begins step `step` of pass `number`."""
        assert self.offset_seed is not None
        turned = torch.randint(len(self.ids), (), generator=generator(self.offset_seed, "offset", number))
        return int(turned) + step * self.length
