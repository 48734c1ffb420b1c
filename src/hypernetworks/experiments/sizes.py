"""The size of a model, counted without allocating it, and the width for a given size."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.experiments.networks import NetworkConfig

__all__ = ["parameters_of", "with_parameters"]

ModelConfig = TypeVar("ModelConfig", bound=NetworkConfig)


def parameters_of(make: Callable[[], nn.Module], config: NetworkConfig) -> int:
    """The number of parameters of the model that `make` makes, each counted once. Nothing is allocated.

    Raises:
        UsageError: a parameter would be larger than any tensor can be.
    """
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in make().parameters())
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"{config.network} with hidden_size {config.hidden_size:,} is larger than any tensor"
        ) from error


def with_parameters(
    config: ModelConfig, count: Callable[[ModelConfig], int], parameters: int, tolerance: float = 0.01
) -> ModelConfig:
    """Choose the hidden_size that brings a model closest to a number of parameters, which `count` counts.

    Raises:
        UsageError: no hidden_size comes within `tolerance` (relative) of it.
    """
    low, high = 1, 2
    while count(config.with_hidden_size(high)) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count(config.with_hidden_size(middle)) < parameters:
            low = middle
        else:
            high = middle
    made = (config.with_hidden_size(low), config.with_hidden_size(high))
    best = min(made, key=lambda sized: abs(count(sized) - parameters))
    found = count(best)
    if abs(found - parameters) > tolerance * parameters:
        raise UsageError(
            f"no {config.network} has within {tolerance:.0%} of {parameters:,} parameters: "
            f"the nearest, with hidden_size {best.hidden_size}, has {found:,}"
        )
    return best
