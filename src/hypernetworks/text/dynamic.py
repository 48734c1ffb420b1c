"""Dynamic evaluation: a model scored on a stream that it learns from while it reads.

    score segment i with θ, then with g = ∇ of its mean loss
    θ ← θ − rate · g / (s + ε) + min(1, decay · s/s̄) ⊙ (θ_0 − θ),   s = √(mean of g² over segments of the training text)

Every character is scored before the model learns from it. θ_0 are the trained weights, and s̄ is the mean of s over all weights.
Scores from dynamic evaluation are not comparable with those of a fixed model, and are reported apart.

Source: Krause, Kahembwe, Murray and Renals, "Dynamic Evaluation of Neural Sequence Models", arXiv 1709.07432, equations 4 to 7.

N characters, T characters a segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.errors import UsageError, check_count
from hypernetworks.text.evaluate import TextScore
from hypernetworks.text.model import CharacterModel

__all__ = ["Dynamics", "evaluate_dynamically"]

_EPSILON = 1e-3
"""ε relative to s̄: no weight moves further than about 1000 times the average one, for the same gradient."""

_STATISTICS = 200
"""Segments of the training text from which s is computed."""


@dataclass(frozen=True)
class Dynamics:
    """How a model learns while it is evaluated.

    Raises:
        UsageError: a setting is invalid.
    """

    rate: float = 3e-4
    """The learning rate. Choose it on the validation split."""
    decay: float = 2e-3
    """How fast the weights return to the trained ones. Choose it on the validation split."""
    length: int = 32
    """T, the characters of a segment."""

    def __post_init__(self) -> None:
        check_count("length", self.length)
        for name in ("rate", "decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"{name} should be a finite number of at least 0, got {getattr(self, name)}")


def evaluate_dynamically(model: CharacterModel, ids: Tensor, training: Tensor, dynamics: Dynamics) -> TextScore:
    """Score a model on a text of symbol ids (N,) while it learns. Its weights and mode are restored afterwards.

    Args:
        model: the model.
        ids: the text to score.
        training: the text that the model was trained on, for the statistics of its gradients.
        dynamics: how it learns.

    Raises:
        UsageError: a text has fewer than two symbols.
    """
    for text in (ids, training):
        if len(text) < 2:
            raise UsageError(f"scoring requires a text of at least 2 symbols, got {len(text)}")
    mode, own = model.training, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in parameters]
    model.eval()
    total = 0.0
    try:
        s = _gradient_sizes(model, parameters, training[: _STATISTICS * dynamics.length + 1], dynamics.length)
        mean = torch.cat([tensor.flatten() for tensor in s]).mean()
        for loss, count in _segments(model, ids, dynamics.length):
            total += loss.item() * count
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for θ, θ_0, g, size in zip(parameters, start, gradients, s, strict=True):
                    back = (dynamics.decay * size / mean).clamp(max=1)
                    # θ ← θ − rate · g / (s + ε) + min(1, decay · s/s̄) ⊙ (θ_0 − θ)
                    θ += back * (θ_0 - θ) - dynamics.rate * g / (size + _EPSILON * mean)
    finally:
        model.load_state_dict(own)
        model.train(mode)
    return TextScore(len(ids) - 1, total / (len(ids) - 1))


def _gradient_sizes(model: CharacterModel, parameters: list[nn.Parameter], ids: Tensor, length: int) -> list[Tensor]:
    """s, the root of the mean square of the gradients over the segments of a text."""
    squares = [torch.zeros_like(parameter) for parameter in parameters]
    segments = 0
    for loss, _ in _segments(model, ids, length):
        for square, gradient in zip(squares, torch.autograd.grad(loss, parameters), strict=True):
            square += gradient.square()
        segments += 1
    return [(square / segments).sqrt() for square in squares]


def _segments(model: CharacterModel, ids: Tensor, length: int) -> Iterator[tuple[Tensor, int]]:
    """The mean loss of each segment of a text, one stream from the zero state, and the number of characters predicted."""
    state = None
    for start in range(0, len(ids) - 1, length):
        part = ids[start : start + length + 1].long().to(model.head.weight.device)
        with torch.enable_grad():
            logits, state = model(part[:-1].unsqueeze(1), state)
            yield F.cross_entropy(logits.squeeze(1), part[1:]), len(part) - 1
        state = model.network.cell(0).named_state(
            [tensor.detach() for tensor in model.network.cell(0).state_tensors(state)]
        )
