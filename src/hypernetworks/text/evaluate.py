"""Scoring a model on a text: one stream from the zero state, every character except the first predicted once.

nats = −(1/(N−1)) Σ_{t=1}^{N−1} ln p(character t | characters 0 … t−1)          bits per character = nats / ln 2
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.text.model import CharacterModel

CHUNK = 1024
"""Characters per forward pass. The state is carried, so the score depends on it only by rounding."""


@dataclass(frozen=True)
class TextScore:
    """The score of a model on a text."""

    characters: int
    """Number of characters predicted."""
    nats: float
    """Mean −ln p of a character."""

    @property
    def bpc(self) -> float:
        """Bits per character."""
        return self.nats / math.log(2)


@torch.inference_mode()
def evaluate(model: CharacterModel, ids: Tensor) -> TextScore:
    """Score a model in evaluation mode on a text of symbol ids (N,), then restore its training mode.

    Raises:
        UsageError: the text has fewer than two characters, so nothing can be predicted.
    """
    if len(ids) < 2:
        raise UsageError(f"scoring requires a text of at least 2 characters, got {len(ids)}")
    device = model.head.weight.device
    training = model.training
    model.eval()
    state, total = None, 0.0
    try:
        for start in range(0, len(ids) - 1, CHUNK):
            part = ids[start : start + CHUNK + 1].long().to(device)
            logits, state = model(part[:-1].unsqueeze(1), state)
            total += F.cross_entropy(logits.squeeze(1).double(), part[1:], reduction="sum").item()
    finally:
        model.train(training)
    return TextScore(len(ids) - 1, total / (len(ids) - 1))
