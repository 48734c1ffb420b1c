"""The trunk of a generator: the multi-layer perceptron between a condition and the heads.

h = φ(... φ(c))        h = c without hidden layers; c (C,) or (B, C); φ a ReLU or another activation
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_choice, check_sizes
from hypernetworks.weights.generators.init import trunk_

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Trunk(NamedTuple):
    """The layers, and what the heads need to know of h."""

    layers: nn.Sequential
    width: int
    """The size of h."""
    moment: float
    """E[h²] of an entry of h."""


def trunk(inputs: int, hidden: Sequence[int], like: Tensor, activation: str = "relu", moment: float = 1.0) -> Trunk:
    """Make the layers between condition and heads, none if `hidden` is (). `moment` is E[c²] of the inputs."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size, device=like.device, dtype=like.dtype), ACTIVATIONS[activation]()]
        inputs = size
    made = nn.Sequential(*layers)
    return Trunk(made, inputs, trunk_(made, moment))


def shaped(flat: Tensor, shape: torch.Size) -> Tensor:
    """Reshape (numel,) to shape, and (B, numel) to (B, *shape)."""
    if len(shape) == 1:
        return flat
    return torch.unflatten(flat, -1, shape) if shape else flat.squeeze(-1)


def check_trunk(hidden: Sequence[int], activation: str) -> tuple[int, ...]:
    """Check the activation, and the widths of the hidden layers: each is at least 1. Returns the widths."""
    check_choice("activation", activation, tuple(ACTIVATIONS))
    if not isinstance(hidden, list | tuple):
        raise TypeError(f"hidden should be a tuple of sizes, got {hidden!r}")
    for size in hidden:
        check_sizes(hidden=size)
    return tuple(hidden)
