"""The trunk of a generator: the multi-layer perceptron between a condition and the heads.

h = ReLU(... ReLU(c))        h = c without hidden layers; c (C,) or (B, C)
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.init import trunk_


def trunk(inputs: int, hidden: Sequence[int], like: Tensor) -> tuple[nn.Sequential, int]:
    """Make the ReLU layers between condition and heads, none if `hidden` is (). Return them and their output size."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size, device=like.device, dtype=like.dtype), nn.ReLU()]
        inputs = size
    made = nn.Sequential(*layers)
    trunk_(made)
    return made, inputs


def shaped(flat: Tensor, shape: torch.Size) -> Tensor:
    """Reshape (numel,) to shape, and (B, numel) to (B, *shape)."""
    return flat.reshape(*flat.shape[:-1], *shape)


def check_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    """Check the widths of the hidden layers: each is at least 1."""
    if not isinstance(hidden, list | tuple):
        raise TypeError(f"hidden should be a tuple of sizes, got {hidden!r}")
    for size in hidden:
        check_sizes(hidden=size)
    return tuple(hidden)
