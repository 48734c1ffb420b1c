"""A text cut into streams for truncated backpropagation through time.

The text is taken as a ring. Stream b of B begins at character b·⌊N/B⌋, and all streams move on by T characters a step, so where
a stream leaves its own part it reads on in the next one's: what comes is always what follows in the text, so a carried state
always fits, and the one false joint is from the text's last character to its first. What a step reads depends on its number
alone.

N characters, B streams, T characters a step.
"""

import torch
from torch import Tensor

from hypernetworks.errors import UsageError


class Streams:
    """Batches of a text, one for each step.

    Args:
        ids: the text as symbol ids, (N,).
        batch_size: B, the number of streams.
        length: T, how many characters each stream gives a step: gradients flow back through at most as many.

    Raises:
        UsageError: the text is shorter than one batch.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int) -> None:
        if len(ids) < batch_size * length + 1:
            raise UsageError(
                f"the training text has {len(ids):,} characters, fewer than one batch: batch_size {batch_size} times "
                f"length {length}, and one to predict, are {batch_size * length + 1:,}"
            )
        self.ids = ids
        self.length = length
        self._places = torch.arange(length + 1).unsqueeze(1) + torch.arange(batch_size) * (len(ids) // batch_size)

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """What these streams read in step number `step` (from 0) and should predict, each (T, streams), int64."""
        read = self.ids[(self._places[:, part] + step * self.length) % len(self.ids)].long()
        return read[:-1], read[1:]
