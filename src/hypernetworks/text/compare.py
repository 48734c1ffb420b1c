"""Networks of equal size: the configurations that a comparison trains."""

from collections.abc import Sequence
from dataclasses import replace

from hypernetworks.errors import UsageError
from hypernetworks.text.config import TextConfig
from hypernetworks.text.model import match_parameters

__all__ = ["match_networks"]


def match_networks(config: TextConfig, networks: Sequence[str], parameters: int, symbols: int) -> dict[str, TextConfig]:
    """A configuration for each network, with the hidden_size that gives its model this number of parameters within 1 %.

    Args:
        config: all other settings.
        networks: names of the registry of recurrent networks.
        parameters: the number of parameters of each model.
        symbols: the size of the alphabet.

    Raises:
        UsageError: a network is named twice, or cannot have this number of parameters.
    """
    if len(set(networks)) != len(networks):
        raise UsageError(f"networks should all be different, got {' '.join(networks)}")
    configs: dict[str, TextConfig] = {}
    for name in networks:
        model = match_parameters(replace(config.model, network=name), symbols, parameters)
        configs[name] = replace(config, model=model)
    return configs
