"""Networks of equal size: the configurations that a comparison trains, and the command that compares them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hypernetworks.errors import UsageError
from hypernetworks.experiments.compare_command import CompareCommand
from hypernetworks.experiments.networks import NetworkConfig
from hypernetworks.experiments.results import RESULTS, read_results
from hypernetworks.experiments.sizes import with_parameters
from hypernetworks.experiments.space import changed
from hypernetworks.experiments.study import best_trial
from hypernetworks.experiments.variants import NetworkConfiguration, with_variant
from hypernetworks.recurrent.families import FAMILIES

__all__ = ["NetworkCompareCommand", "match_networks", "with_study"]

Config = TypeVar("Config", bound=NetworkConfiguration)


@dataclass(frozen=True)
class NetworkCompareCommand(CompareCommand):
    """Train several networks of equal size on the same data, and compare what each reaches and costs."""

    names: ClassVar[Collection[str]] = tuple(FAMILIES)
    chosen: ClassVar[Mapping[str, str]] = {"model.hidden_size": "give --parameters", "model.network": "give --networks"}
    networks: tuple[str, ...] = ("lstm", "layer-norm-lstm", "hyper-lstm")
    """Which networks. Each gets the hidden_size that brings it within 1 % of --parameters. NETWORK:SETTING=VALUE,… is a network
    with settings of its own, for example hyper-lstm:init=paper."""
    parameters: int = 250_000
    """The number of parameters of each model."""
    study: Path | None = None
    """The folder of a study: each network gets the searched settings that were best for it there."""

    def variants(self, settings: Any, data: Any) -> Mapping[str, Any]:
        """Each network at the same size, with the settings of the study."""
        if not self.networks:
            raise UsageError("networks should be one or more, got none")
        if unused := [name for name in self.own if name not in self.networks]:
            names = " ".join(self.networks)
            raise UsageError(f"settings are given for {', '.join(unused)}, which is not in --networks {names}")
        experiment = self.experiment
        given = {name: self.own.get(name, settings) for name in self.networks}
        if self.study is not None:
            given = with_study(given, self.study, experiment.preset(self.preset))
        record = experiment.record(data)

        def count(model: NetworkConfig) -> int:
            return experiment.count_parameters(replace(settings, model=model), record)

        return match_networks(given, self.networks, self.parameters, count)

    def title(self, data: Any) -> str:
        """The data and the size of the models."""
        return f"{data.name}, {self.parameters:,} parameters each"


def match_networks(
    configs: Mapping[str, Config], networks: Sequence[str], parameters: int, count: Callable[[Any], int]
) -> dict[str, Config]:
    """A configuration for each network, with the hidden_size that gives its model this number of parameters within 1 %.

    Args:
        configs: all other settings of each network.
        networks: variants: names of the registry of recurrent networks, which may have settings of their own.
        parameters: the number of parameters of each model.
        count: counts the parameters of a model, given its settings.

    Raises:
        UsageError: a network is named twice, or cannot have this number of parameters.
    """
    if len(set(networks)) != len(networks):
        raise UsageError(f"networks should all be different, got {' '.join(networks)}")
    made: dict[str, Config] = {}
    for name in networks:
        config: Any = with_variant(configs[name], name)
        made[name] = replace(config, model=with_parameters(config.model, count, parameters))
    return made


def with_study(configs: Mapping[str, Config], study: Path, preset: Config) -> dict[str, Config]:
    """The configurations of networks with the settings that were best for each of them in a study.

    Raises:
        UsageError: the folder holds no study, the study has no complete trial of a network, or a setting that it searched was
            given, too.
    """
    if not (study / RESULTS).is_dir():
        what = f"which holds no {RESULTS}" if study.is_dir() else "which is not a folder"
        raise UsageError(f"--study should be the folder of a study made by text study, got {study}, {what}")
    results = read_results(study / RESULTS)
    made: dict[str, Config] = {}
    for name, config in configs.items():
        values = best_trial(results, name, study).values
        for path in values:
            get = attrgetter(path)
            if get(config) != get(preset):
                flag = path.rpartition(".")[2].replace("_", "-")
                raise UsageError(f"--study sets --{flag} of {name}, got {get(config)}, too: leave out one of them")
        made[name] = changed(config, values)
    return made
