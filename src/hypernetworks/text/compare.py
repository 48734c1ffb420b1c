"""Networks of equal size: the configurations that a comparison trains."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from hypernetworks.errors import UsageError
from hypernetworks.experiments.results import RESULTS, read_results
from hypernetworks.experiments.space import changed
from hypernetworks.experiments.study import best_trial
from hypernetworks.text.config import TextConfig
from hypernetworks.text.sizes import match_parameters
from hypernetworks.text.variants import with_variant

__all__ = ["match_networks", "with_study"]


def match_networks(
    configs: Mapping[str, TextConfig], networks: Sequence[str], parameters: int, symbols: int
) -> dict[str, TextConfig]:
    """A configuration for each network, with the hidden_size that gives its model this number of parameters within 1 %.

    Args:
        configs: all other settings of each network.
        networks: variants: names of the registry of recurrent networks, which may have settings of their own.
        parameters: the number of parameters of each model.
        symbols: the size of the alphabet.

    Raises:
        UsageError: a network is named twice, or cannot have this number of parameters.
    """
    if len(set(networks)) != len(networks):
        raise UsageError(f"networks should all be different, got {' '.join(networks)}")
    made: dict[str, TextConfig] = {}
    for name in networks:
        config = with_variant(configs[name], name)
        made[name] = replace(config, model=match_parameters(config.model, symbols, parameters))
    return made


def with_study(configs: Mapping[str, TextConfig], study: Path, preset: TextConfig) -> dict[str, TextConfig]:
    """The configurations of networks with the settings that were best for each of them in a study.

    Raises:
        UsageError: the folder holds no study, the study has no complete trial of a network, or a setting that it searched was
            given, too.
    """
    if not (study / RESULTS).is_dir():
        what = f"which holds no {RESULTS}" if study.is_dir() else "which is not a folder"
        raise UsageError(f"--study should be the folder of a study made by text study, got {study}, {what}")
    results = read_results(study / RESULTS)
    made: dict[str, TextConfig] = {}
    for name, config in configs.items():
        values = best_trial(results, name, study).values
        for path in values:
            get = attrgetter(path)
            if get(config) != get(preset):
                flag = path.rpartition(".")[2].replace("_", "-")
                raise UsageError(f"--study sets --{flag} of {name}, got {get(config)}, too: leave out one of them")
        made[name] = changed(config, values)
    return made
