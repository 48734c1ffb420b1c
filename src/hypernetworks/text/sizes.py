"""The size and the cost of a character model, counted without allocating it, and the width for a given size."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from hypernetworks.errors import UsageError
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

__all__ = ["count_parameters", "flops_per_character", "match_parameters"]


def count_parameters(config: CharacterModelConfig, symbols: int) -> int:
    """The number of parameters of a model, each counted once. Nothing is allocated.

    Example:
        >>> from hypernetworks.text import CharacterModelConfig
        >>> count_parameters(CharacterModelConfig(network="lstm", hidden_size=256), symbols=65)
        349569

    Raises:
        UsageError: a parameter would be larger than any tensor can be.
    """
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in CharacterModel(config, symbols).parameters())
    except (RuntimeError, TypeError) as error:
        raise UsageError(
            f"{config.network} with hidden_size {config.hidden_size:,} is larger than any tensor"
        ) from error


def flops_per_character(config: CharacterModelConfig, symbols: int) -> int:
    """Floating-point operations of the matrix products in the forward pass of one character. A multiply-add counts as two.

    Counted by PyTorch's FlopCounterMode on the products that are made. A training step costs three times as much. Embedding
    lookups and elementwise operations are not counted.

    Example:
        >>> from hypernetworks.text import CharacterModelConfig
        >>> flops_per_character(CharacterModelConfig(network="lstm", hidden_size=256), symbols=65)
        688640
    """
    with torch.device("meta"):
        model = CharacterModel(config, symbols).eval()
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.zeros(1, 1, dtype=torch.int64))
    return counter.get_total_flops()


def match_parameters(
    config: CharacterModelConfig, symbols: int, parameters: int, tolerance: float = 0.01
) -> CharacterModelConfig:
    """Choose the hidden_size that brings a model closest to a number of parameters.

    Example:
        >>> from hypernetworks.text import CharacterModelConfig
        >>> config = match_parameters(CharacterModelConfig(network="lstm"), symbols=65, parameters=349_569)
        >>> config.hidden_size
        256

    Raises:
        UsageError: no hidden_size comes within `tolerance` (relative) of it.
    """

    def sized(hidden: int) -> CharacterModelConfig:
        return replace(
            config, hidden_size=hidden, embedding_size=hidden if config.tie_weights else config.embedding_size
        )

    low, high = 1, 2
    while count_parameters(sized(high), symbols) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count_parameters(sized(middle), symbols) < parameters:
            low = middle
        else:
            high = middle
    best = min((sized(low), sized(high)), key=lambda made: abs(count_parameters(made, symbols) - parameters))
    count = count_parameters(best, symbols)
    if abs(count - parameters) > tolerance * parameters:
        raise UsageError(
            f"no {config.network} has within {tolerance:.0%} of {parameters:,} parameters: "
            f"the nearest, with hidden_size {best.hidden_size}, has {count:,}"
        )
    return best
