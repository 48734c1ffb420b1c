"""The commands of every experiment: train and evaluate.

An experiment subclasses them to set `experiment` and the type of its settings. tyro makes the flags from the fields.
"""

import argparse
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from tyro.conf import Positional, arg

from hypernetworks.errors import UsageError
from hypernetworks.experiments.experiment import Experiment, check_same_data
from hypernetworks.experiments.origin import Origin
from hypernetworks.files import json_object, read_whole
from hypernetworks.processes import first_before_others, is_first, print_once, process_group, warn_once
from hypernetworks.runs.machine import changed_environment
from hypernetworks.runs.open import should_resume
from hypernetworks.runs.run import CONFIG_LIMIT
from hypernetworks.runs.tensorboard import TensorBoard
from hypernetworks.terminal import shown
from hypernetworks.training.device import find_device

__all__ = ["EvaluateCommand", "TrainCommand", "check_chosen", "check_split", "preset_help", "preset_of", "scan"]


def preset_help(presets: Mapping[str, str]) -> Any:
    """The help of a `preset` field, from a description of each preset."""
    described = "; ".join(f"{name}: {what}" for name, what in presets.items())
    return arg(help=f"Named settings, which other flags override. {described}.")


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
    init_from: Path | None = None
    """Start with the weights of the best model of this run, and with its settings, which other flags override. The optimiser
    and the learning rate start from the beginning."""
    resume: bool = False
    """Continue the run in --out with its own settings. A run that has ended takes more --steps: from there on the learning rate
    is that of a schedule with the new number of steps, so after a decay it rises again."""
    log: Literal["none", "tensorboard"] = "none"
    """tensorboard: write the metrics to a TensorBoard log in the run's folder, too."""
    data_dir: Path | None = None
    """Where to look for data sets first, and where to put those that are fetched."""

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> Self:
        """The command before its flags apply: with the settings of the preset, of --config, or of the resumed run."""
        experiment = cls.experiment
        flags = scan(arguments, experiment.preset_flags)
        given = [name for name in ("preset", "config", "init_from", "resume") if getattr(flags, name)]
        if len(given) > 1:
            raise UsageError(
                "the settings come from one of --preset, --config, --init-from and --resume, "
                f"got --{' and --'.join(given).replace('_', '-')}"
            )
        if flags.config:
            settings = experiment.read_config(read_config_file(flags.config), str(flags.config)).config
        elif flags.resume:
            out = flags.out or cls.out
            _check_no_finished_trial(out)
            settings = experiment.recorded(out).config
        elif flags.init_from:
            settings = experiment.recorded(flags.init_from).config
            settings = replace(settings, schedule=replace(settings.schedule, extended_at=()))
        else:
            settings = preset_of(experiment, flags, cls.preset)
        return cls(settings=settings, config=flags.config, init_from=flags.init_from)

    def __call__(self) -> None:
        """Train or resume, then print the result."""
        experiment = self.experiment
        with process_group(self.settings.device):
            with first_before_others():  # the data may have to be fetched
                data = self._load_data()
            settings = experiment.settle(self.settings)
            resumed = should_resume(self.out, self.resume)
            more = self._more_steps(settings, data) if resumed else None
            if self.config is not None:
                _check_repeated(experiment, self.config, settings, data)
            origin = None if resumed else self._origin()
            if resumed or origin is not None:
                made = self.out if origin is None else origin.run
                data = experiment.fitted(data, experiment.recorded(made).record)
            label = experiment.describe_model(settings)
            count = experiment.count_parameters(settings, experiment.record(data))
            started = "" if origin is None else f", with the weights of {origin.run}"
            print_once(f"{experiment.describe_data(data)}; {label}, {count:,} parameters{started}")
            warn_once(settings.schedule.warning())
            watch = TensorBoard(self.out) if self.log == "tensorboard" else None
            try:
                if resumed:
                    run = experiment.resume(self.out, data, label, watch, more)
                else:
                    run = experiment.train(self.out, settings, data, label, watch, origin)
            finally:
                if watch is not None:
                    watch.close()
            if is_first():
                step, figures = run.best_validation()
                described = experiment.describe_validation(figures, run.config[experiment.data_key])
                lines = [f"best validation at step {step}: {described}"]
                print_once(*lines, *filter(None, [shown(experiment.outcome(run))]), f"run: {run.folder}")

    def _more_steps(self, settings: Any, data: Any) -> int | None:
        """The steps that a run in --out is given beyond its own; UsageError if another setting differs from the run's."""
        own, given = self.experiment.recorded(self.out).config.schedule, settings.schedule.steps
        more = given if given > own.steps else None
        kept = replace(settings, schedule=replace(settings.schedule, steps=own.steps)) if more else settings
        if changed := self.experiment.changed_settings(self.out, kept, data):
            raise UsageError(f"{self.out}: a run is resumed with its own settings, but was given {changed}")
        return more

    def _origin(self) -> Origin | None:
        """The run whose weights the new one starts with."""
        if self.config is not None:
            return Origin.recorded(read_config_file(self.config), str(self.config))
        return None if self.init_from is None else Origin.of(self.init_from)

    def _load_data(self) -> Any:
        try:
            return self.experiment.load_data(self.settings, self.data_dir)
        except UsageError as error:
            paths = self.experiment.paths(self.settings)
            if (self.resume or self.init_from) and paths:
                flags = " or ".join(f"--{name.replace('_', '-')}" for name in paths)
                raise UsageError(f"{error}; {self.experiment.if_moved} with {flags}") from error
            raise


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


def scan(arguments: Sequence[str], more: Sequence[str] = ()) -> argparse.Namespace:
    """Read the flags that choose the defaults of all others, before these are parsed.

    --preset, --config, --init-from, --out, --resume, and those that an experiment names in `preset_flags`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--init-from", "--init_from", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--resume", action="store_true")
    for name in more:
        parser.add_argument(f"--{name}")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error


def check_chosen(command: str, refused: Mapping[str, str], given: Collection[Any], preset: Any) -> None:
    """Check that no settings differ from the preset in what a command chooses itself.

    Args:
        command: its name in the message.
        refused: what to give instead, by the paths of the settings.
        given: the settings.
        preset: those of the preset.

    Raises:
        UsageError: they do; the message names the flag.
    """
    for path, instead in refused.items():
        of = attrgetter(path)
        for value in map(of, given):
            if value != of(preset):
                flag = path.rpartition(".")[2].replace("_", "-")
                raise UsageError(f"{command} chooses --{flag} itself, got {value}: {instead}")


def check_split(split: str) -> None:
    """UsageError unless this is the name of a split."""
    if split not in ("train", "validation", "test"):
        raise UsageError(f"split should be train, validation or test, got {split!r}")


def preset_of(experiment: Experiment[Any, Any, Any], flags: argparse.Namespace, default: str) -> Any:
    """The settings of the preset that the flags name, see `scan`."""
    given = {name: getattr(flags, name, None) for name in experiment.preset_flags}
    return experiment.preset(flags.preset or default, **given)


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of a config.json; UsageError if it is not a JSON object."""
    return json_object(read_whole(path, CONFIG_LIMIT), str(path))


def _check_no_finished_trial(run: Path) -> None:
    """UsageError if the run was a trial of a study that has finished or was pruned."""
    result = run.parent.parent / "results" / f"{run.name}.json"
    if not run.exists() and result.is_file():
        raise UsageError(
            f"{run}: a trial of a study that has finished or was pruned, which is not resumed: its settings and curve are in "
            f"{result}"
        )


def _check_repeated(experiment: Experiment[Any, Any, Any], path: Path, settings: Any, data: Any) -> None:
    """UsageError if the data have changed since; a line on standard error if versions or machine differ."""
    config = read_config_file(path)
    recorded, record = experiment.read_config(config, str(path))
    if experiment.data_name(settings) == experiment.data_name(recorded):  # else a flag asked for other data
        check_same_data(path, record, data)
    if changed := changed_environment(config):
        warn_once(f"{path}: repeated with {changed}: the last bits of the results may differ")
