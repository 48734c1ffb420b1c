"""The size and the cost of a character model, counted without allocating it, and the width for a given size."""

import torch

from hypernetworks.experiments.sizes import parameters_of, with_parameters
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
    return parameters_of(lambda: CharacterModel(config, symbols), config)


def flops_per_character(config: CharacterModelConfig, symbols: int) -> int:
    """Floating-point operations of the matrix products in the forward pass of one character. A multiply-add counts as two.

    Counted by PyTorch's FlopCounterMode on the products that are made. A training step costs three times as much. Embedding
    lookups and elementwise operations are not counted.

    Example:
        >>> from hypernetworks.text import CharacterModelConfig
        >>> flops_per_character(CharacterModelConfig(network="lstm", hidden_size=256), symbols=65)
        688640
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton, which delays the start of every command

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
    return with_parameters(config, lambda sized: count_parameters(sized, symbols), parameters, tolerance)
