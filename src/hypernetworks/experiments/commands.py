"""The commands of every experiment: train, evaluate and compare.

An experiment subclasses them to set `experiment` and the type of its settings. tyro makes the flags from the fields.
"""

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import tyro
from rich.console import Console
from tyro.conf import Positional, Suppress, arg

from hypernetworks.errors import UsageError
from hypernetworks.experiments.comparison import compare, plot, table
from hypernetworks.experiments.config import differences
from hypernetworks.experiments.experiment import Experiment, check_same_data
from hypernetworks.files import json_object, read_whole
from hypernetworks.processes import first_before_others, is_first, print_once, process_group
from hypernetworks.runs.machine import changed_environment
from hypernetworks.runs.open import should_resume
from hypernetworks.runs.run import CONFIG_LIMIT
from hypernetworks.runs.tensorboard import TensorBoard
from hypernetworks.training.device import find_device

__all__ = ["CompareCommand", "EvaluateCommand", "TrainCommand", "preset_help"]


def preset_help(presets: Mapping[str, Any]) -> Any:
    """The help of a `preset` field."""
    return arg(help=f"Named settings: {', '.join(presets)}. Other flags override them.")


@dataclass(frozen=True)
class TrainCommand:
    """Train a model."""

    experiment: ClassVar[Experiment[Any, Any, Any]]

    preset: str = "default"
    """Named settings."""
    settings: Any = None
    out: Path = Path("runs/run")
    """The run's folder."""
    config: Path | None = None
    """Repeat the run of this config.json: its settings, on the same data."""
    resume: bool = False
    """Continue the run in --out with its own settings."""
    log: Literal["none", "tensorboard"] = "none"
    """tensorboard: write the metrics to a TensorBoard log in the run's folder, too."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The command before its flags apply: with the settings of the preset, of --config, or of the resumed run."""
        experiment = cls.experiment
        flags = scan(arguments, experiment.preset_flags)
        given = [name for name in ("preset", "config", "resume") if getattr(flags, name)]
        if len(given) > 1:
            raise UsageError(
                f"the settings come from one of --preset, --config and --resume, got --{' and --'.join(given)}"
            )
        if flags.config:
            settings = experiment.read_config(read_config_file(flags.config), str(flags.config)).config
        elif flags.resume:
            settings = experiment.recorded(flags.out or cls.out).config
        else:
            settings = _preset(experiment, flags, cls.preset)
        return cls(settings=settings, config=flags.config)

    def __call__(self) -> None:
        """Train or resume, then print the result."""
        experiment = self.experiment
        with process_group(self.settings.device):
            with first_before_others():  # the data may have to be fetched
                data = experiment.load_data(experiment.data_name(self.settings), self.data_dir)
            settings = experiment.settle(self.settings, data)
            resumed = should_resume(self.out, self.resume)
            if resumed:
                _check_same_settings(experiment, self.out, settings)
            if self.config is not None:
                _check_repeated(experiment, self.config, settings, data)
            label = experiment.describe_model(settings)
            count = experiment.count_parameters(settings, experiment.record(data))
            print_once(f"{experiment.describe_data(data)}; {label}, {count:,} parameters")
            watch = TensorBoard(self.out) if self.log == "tensorboard" else None
            try:
                if resumed:
                    run = experiment.resume(self.out, data, label, watch)
                else:
                    run = experiment.train(self.out, settings, data, label, watch)
            finally:
                if watch is not None:
                    watch.close()
            if is_first():
                step, figures = run.best_validation()
                lines = [f"best validation at step {step}: {experiment.describe_validation(figures)}"]
                print_once(*lines, *filter(None, [experiment.outcome(run)]), f"run: {run.folder}")


@dataclass(frozen=True)
class EvaluateCommand:
    """Evaluate the best model of a run on a split of its data."""

    experiment: ClassVar[Experiment[Any, Any, Any]]

    run: Positional[Path]
    """The run's folder."""
    split: str = "validation"
    """train, validation or test."""
    device: str = "auto"
    """cpu, cuda, …; auto uses cuda if available."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""

    def __call__(self) -> None:
        """Print the scores."""
        check_split(self.split)
        model, _, record = self.experiment.load(self.run)
        data = self.experiment.data_of(self.run, self.data_dir)
        result = self.experiment.evaluate(model.to(find_device(self.device)), record, data, self.split)
        print(f"{self.run} on {data.name}, {self.split}: {result}")


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
    """Continue the comparison in --out: keep its finished runs, and resume an interrupted one."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""
    own: Suppress[dict[str, Any]] = field(default_factory=dict)
    """The settings of the variants to which a flag gave values of their own, with all other flags applied."""

    @abstractmethod
    def variants(self, settings: Any, data: Any) -> Mapping[str, Any]:
        """The configuration of each variant, from the settings of all, or those in `own`."""

    def title(self, data: Any) -> str:
        """The title of the plot."""
        return data.name

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The command before its flags apply: with the settings of the preset, and those of variants with their own."""
        plain = cls(settings=_preset(cls.experiment, scan(arguments), cls.preset))
        shared, own = split_by_variant(arguments, cls.names)
        made = {name: tyro.cli(cls, args=[*shared, *flags], default=plain).settings for name, flags in own.items()}
        return replace(plain, own=made)

    @classmethod
    def shared(cls, arguments: Sequence[str]) -> list[str]:
        """The arguments without those for a variant."""
        return split_by_variant(arguments, cls.names)[0]

    def __call__(self) -> None:
        """Train all variants, then print samples, a table and the places of the plots."""
        experiment = self.experiment
        preset = experiment.preset(self.preset)
        for path, instead in {**self.chosen, "schedule.seed": "give --seeds"}.items():
            for given in (attrgetter(path)(config) for config in (self.settings, *self.own.values())):
                if given != attrgetter(path)(preset):
                    flag = path.rpartition(".")[2].replace("_", "-")
                    raise UsageError(f"compare chooses --{flag} itself, got {given}: {instead}")
        data = experiment.load_data(experiment.data_name(self.settings), self.data_dir)
        for name, config in self.own.items():
            if experiment.data_name(config) != experiment.data_name(self.settings):
                raise UsageError(f"all variants read the same data, got {experiment.data_name(config)} for {name}")
        own = {name: experiment.settle(config, data) for name, config in self.own.items()}
        configs = replace(self, own=own).variants(experiment.settle(self.settings, data), data)
        print(experiment.describe_data(data))
        rows = compare(experiment, self.out, configs, self.seeds, data, self.resume)
        console = Console()
        for row in rows:
            if sample := experiment.sample(Path(row.runs[0])):
                console.rule(row.variant)
                print(sample)
        console.print(table(experiment, rows))
        try:
            for path in plot(experiment, self.out, rows, self.title(data)):
                print(f"plot: {path}")
        except ImportError:
            print("no plot: matplotlib is not installed (pip install 'hypernetworks[plot]')")
        print(f"runs and compare.json: {self.out}")


def scan(arguments: Sequence[str], more: Sequence[str] = ()) -> argparse.Namespace:
    """Read the flags that choose the defaults of all others, before these are parsed.

    --preset, --config, --out, --resume, and those that an experiment names in `preset_flags`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true")
    for name in more:
        parser.add_argument(f"--{name}")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error


def split_by_variant(arguments: Sequence[str], names: Collection[str]) -> tuple[list[str], dict[str, list[str]]]:
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


def check_split(split: str) -> None:
    """UsageError unless this is the name of a split."""
    if split not in ("train", "validation", "test"):
        raise UsageError(f"split should be train, validation or test, got {split!r}")


def _preset(experiment: Experiment[Any, Any, Any], flags: argparse.Namespace, default: str) -> Any:
    given = {name: getattr(flags, name, None) for name in experiment.preset_flags}
    return experiment.preset(flags.preset or default, **given)


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a config.json; UsageError if it is not a JSON object."""
    return json_object(read_whole(path, CONFIG_LIMIT), str(path))


def _check_same_settings(experiment: Experiment[Any, Any, Any], run: Path, given: Any) -> None:
    if changed := differences(experiment.recorded(run).config, given):
        raise UsageError(f"{run}: a run is resumed with its own settings, but was given {changed}")


def _check_repeated(experiment: Experiment[Any, Any, Any], path: Path, settings: Any, data: Any) -> None:
    """UsageError if the data have changed since; a line on standard error if versions or machine differ."""
    config = read_config_file(path)
    recorded, record = experiment.read_config(config, str(path))
    if experiment.data_name(settings) == experiment.data_name(recorded):  # else a flag asked for other data
        check_same_data(path, record, data)
    if (changed := changed_environment(config)) and is_first():
        print(f"{path}: repeated with {changed}: the last bits of the results may differ", file=sys.stderr)
