"""The command that compares the variants of an experiment, which may have settings of their own."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import tyro
from rich.console import Console
from tyro.conf import Suppress

from hypernetworks.errors import UsageError
from hypernetworks.experiments.commands import check_chosen, preset_of, scan
from hypernetworks.experiments.comparison import compare, plot, table
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.processes import warn_once
from hypernetworks.terminal import shown

__all__ = ["CompareCommand"]


@dataclass(frozen=True)
class CompareCommand(ABC):
    """Train several variants on the same data, and compare what each reaches and costs."""

    experiment: ClassVar[Experiment[Any, Any, Any]]
    chosen: ClassVar[Mapping[str, str]] = {}
    """The settings that the comparison chooses for each variant, by their path, and what to give instead."""
    names: ClassVar[Collection[str]] = ()
    """The variants whose settings a flag may give apart, as in --learning-rate lstm=3e-3 gru=2e-3."""

    preset: str = "default"
    """Named settings."""
    settings: Any = None
    seeds: tuple[int, ...] = (0,)
    """Train each variant once with each seed."""
    out: Path = Path("runs/compare")
    """The comparison's folder, which holds a folder for each run."""
    resume: bool = False
    """Continue the comparison in --out: keep its finished runs, and resume an interrupted one. A folder without a comparison
    gets a new one."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""
    own: Suppress[dict[str, Any]] = field(default_factory=dict)
    """The settings of the variants to which a flag gave values of their own, with all other flags applied."""

    @classmethod
    def refused(cls) -> Mapping[str, str]:
        """The settings that are no flags of this command, and what to give instead."""
        return {**cls.chosen, "schedule.seed": "give --seeds"}

    @abstractmethod
    def variants(self, settings: Any, data: Any) -> Mapping[str, Any]:
        """The configuration of each variant, from the settings of all, or those in `own`."""

    def title(self, data: Any) -> str:
        """The title of the plot."""
        return data.name

    def caption(self, data: Any) -> str:
        """What the plot shows and does not show."""
        return ""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The command before its flags apply: with the settings of the preset, and those of variants with their own."""
        plain = cls(settings=preset_of(cls.experiment, scan(arguments), cls.preset))
        shared, own = _split_by_variant(arguments, cls.names)
        made = {name: tyro.cli(cls, args=[*shared, *flags], default=plain).settings for name, flags in own.items()}
        return replace(plain, own=made)

    @classmethod
    def shared(cls, arguments: Sequence[str]) -> list[str]:
        """The arguments without those for a variant."""
        return _split_by_variant(arguments, cls.names)[0]

    def __call__(self) -> None:
        """Train all variants, then print samples, a table and the places of the plots."""
        experiment = self.experiment
        given = self.settings, *self.own.values()
        check_chosen("compare", self.refused(), given, experiment.preset(self.preset))
        data = experiment.load_data(self.settings, self.data_dir)
        for name, config in self.own.items():
            if experiment.data_name(config) != experiment.data_name(self.settings):
                raise UsageError(f"all variants read the same data, got {experiment.data_name(config)} for {name}")
        own = {name: experiment.settle(config) for name, config in self.own.items()}
        configs = replace(self, own=own).variants(experiment.settle(self.settings), data)
        print(experiment.describe_data(data))
        for line in {config.schedule.warning() for config in configs.values()}:
            warn_once(line)
        rows = compare(experiment, self.out, configs, self.seeds, data, self.resume)
        console = Console()
        for row in rows:
            if sample := experiment.sample(Path(row.runs[0])):
                console.rule(row.variant)
                print(shown(sample))
        console.print(table(experiment, rows))
        try:
            for path in plot(experiment, self.out, rows, self.title(data), self.caption(data)):
                print(f"plot: {path}")
        except ImportError:
            print("no plot: matplotlib is not installed (pip install 'hypernetworks[plot]')")
        print(f"runs and compare.json: {self.out}")


def _split_by_variant(arguments: Sequence[str], names: Collection[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The arguments that all variants share, and the further ones of each: --flag lstm=3 gives lstm the flag with value 3."""
    shared: list[str] = []
    own: dict[str, list[str]] = {}
    flag = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--"):
            flag = argument
        elif equals and name in names:
            if shared and shared[-1] == flag:
                shared.pop()
            own.setdefault(name, []).extend([flag, value])
            continue
        shared.append(argument)
    return shared, own
