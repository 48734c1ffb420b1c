"""Scoring a model on a text: one stream from the zero state, every character except the first predicted once.

nats = −(1/(N−1)) Σ_{t=1}^{N−1} ln p(character t | characters 0 … t−1)          bits per character = nats / ln 2
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.stepper import Weights, read_step, stepper

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
def evaluate(model: CharacterModel, ids: Tensor, weights: Weights = "float32") -> TextScore:
    """Score a model in evaluation mode on a text of symbol ids (N,), then restore its training mode.

    With weights="bfloat16" or "int8" a stepper that stores the weights in this way reads the text, as in generation.

    Raises:
        UsageError: the text has fewer than two characters, so nothing can be predicted.
    """
    if len(ids) < 2:
        raise UsageError(f"scoring requires a text of at least 2 characters, got {len(ids)}")
    device = model.head.weight.device
    training = model.training
    model.eval()
    total = 0.0
    read = _reader(model, weights)
    try:
        for start in range(0, len(ids) - 1, CHUNK):
            part = ids[start : start + CHUNK + 1].long().to(device)
            total += F.cross_entropy(read(part[:-1]).double(), part[1:], reduction="sum").item()
    finally:
        model.train(training)
    return TextScore(len(ids) - 1, total / (len(ids) - 1))


def _reader(model: CharacterModel, weights: Weights) -> Callable[[Tensor], Tensor]:
    """A function that reads the next characters of a stream, (T,), and returns their logits (T, V)."""
    state = None

    def read(ids: Tensor) -> Tensor:
        nonlocal state
        logits, state = model(ids.unsqueeze(1), state)
        return logits.squeeze(1)

    if weights == "float32":
        return read  # a whole chunk in one call packs the weights once, too
    step = stepper(model, 1, weights)
    return lambda ids: model.head(torch.cat([read_step(model, step, id) for id in ids.split(1)]))
