"""The stroke model: a recurrent network that reads points and predicts the next one.

    x_t      = [Δx, Δy, down, up, end]                        the point before, its offset in deviations of the training set
    h_t, s_t = network(x_t, s_{t−1})
    values   = W h_t + b                                      the distribution of the next point, see `mixture`

T time, B batch, H hidden, M components of the mixture.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hypernetworks.errors import check_count
from hypernetworks.experiments.networks import NetworkConfig, make_network
from hypernetworks.recurrent.layer import RecurrentNetwork
from hypernetworks.strokes.mixture import DOWN

__all__ = ["POINT_SIZE", "StrokeModel", "StrokeModelConfig", "points_of"]

POINT_SIZE = 5
"""The numbers of a point: Δx, Δy and the state of the pen, one-hot."""


@dataclass(frozen=True)
class StrokeModelConfig(NetworkConfig):
    """The settings of a stroke model.

    Raises:
        UsageError: a setting is invalid.

    Example:
        >>> from hypernetworks.strokes import StrokeModelConfig
        >>> StrokeModelConfig("lstm", hidden_size=32).mixtures
        20
    """

    mixtures: int = 20
    """M, the number of normal distributions that the next offset is a mixture of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("mixtures", self.mixtures)


class StrokeModel(nn.Module):
    """Predicts the next point: `values, state = model(points, state)`.

    Args:
        config: the settings.

    Example:
        >>> from hypernetworks.strokes import StrokeModel, StrokeModelConfig
        >>> model = StrokeModel(StrokeModelConfig("lstm", hidden_size=32, mixtures=3))
        >>> values, state = model(model.start(4).unsqueeze(0))
        >>> values.shape                                        # time, batch, 6M + 3
        torch.Size([1, 4, 21])
    """

    def __init__(self, config: StrokeModelConfig) -> None:
        super().__init__()
        self.config = config
        self.network: RecurrentNetwork[Any] = make_network(config, POINT_SIZE, config.dropout)
        self.head: nn.Linear = nn.Linear(config.hidden_size, 6 * config.mixtures + 3)
        nn.init.zeros_(self.head.bias)

    def forward(self, points: Tensor | PackedSequence, state: Any = None) -> tuple[Tensor, Any]:
        """Predict the next point at each step.

        Args:
            points: (T, B, 5), or packed, from `points_of`.
            state: the network's state; None: zero.

        Returns:
            The numbers of the distributions, (T, B, 6M + 3), or (points, 6M + 3) in the order of the packed points, and the
            state.
        """
        h, state = self.network(points, state)
        h = h.data if isinstance(h, PackedSequence) else h
        return self.head(F.dropout(h, self.config.dropout, self.training)), state

    def start(self, batch: int) -> Tensor:
        """What the model reads first: no offset, the pen is down. (B, 5)."""
        weight = self.head.weight
        return points_of(weight.new_zeros(batch, 2), torch.full((batch,), DOWN, device=weight.device))


def points_of(offsets: Tensor, pen: Tensor) -> Tensor:
    """What the model reads, (…, 5), from offsets (…, 2) and states of the pen (…)."""
    return torch.cat([offsets, F.one_hot(pen, 3).to(offsets.dtype)], dim=-1)
