"""An experiment: the configuration, presets, data, model, task and score that train, evaluate and compare are built from.

A subclass says what is particular to one experiment. Run folders, resuming, checks of the data and comparisons are written
here once. docs/recipes/experiment.md lists the files and edits that a new experiment needs.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic

import torch

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.config import differences, from_json
from hypernetworks.experiments.origin import ORIGIN, Origin
from hypernetworks.experiments.parts import Config, Data, DataSet, Loaded, Model, Recorded, Score
from hypernetworks.processes import is_first, warn_once
from hypernetworks.runs.curve import draw_run
from hypernetworks.runs.open import open_run
from hypernetworks.runs.run import Run
from hypernetworks.training.device import find_device
from hypernetworks.training.loop import Task, Trainer, Watch, load_best, named_values
from hypernetworks.training.schedule import Schedule

__all__ = ["Experiment", "check_same_data", "find_preset"]


class Experiment(ABC, Generic[Config, Data, Model]):
    """One experiment. Subclasses set the attributes, implement the abstract methods, and override the others if needed."""

    name: ClassVar[str]
    """The command's first word; also written to `config.json`."""
    format: ClassVar[int] = 1
    """The format of `config.json`. Increase it when older settings need `upgrade`."""
    data_key: ClassVar[str] = "data"
    """The entry of `config.json` that describes the data."""
    config_type: type[Config]
    """The dataclass of the settings."""
    task_type: type[Task[Model]]
    """What the training loop drives, made of a model, a configuration and data."""
    presets: Mapping[str, Any]
    """Named settings."""
    preset_flags: ClassVar[Sequence[str]] = ()
    """Flags that select among the variants of a preset, passed to `preset`."""
    score: ClassVar[Score] = Score()
    """What comparisons plot."""
    variant: ClassVar[str] = "variant"
    """What the variants of a comparison are, for example network."""
    headings: ClassVar[Mapping[str, str]] = {}
    """Column headings for figures and scores whose names should not be shown as they are."""
    if_moved: ClassVar[str] = ""
    """What to do if the data of a run are not found at their path; the command adds the flags that take it."""

    path_settings: ClassVar[Sequence[str]] = ()
    """The settings that may be paths of a user's own data; none: data have names only."""
    named_data: ClassVar[Collection[str]] = ()
    """The names of data sets, which such a setting may have instead of a path."""

    # What an experiment is.

    @abstractmethod
    def data_name(self, config: Config) -> str:
        """The name or path of the data that a configuration asks for."""

    @abstractmethod
    def load_data(self, config: Config, data_dir: Path | None) -> Data:
        """Load the data that a configuration asks for; files are looked for in `data_dir` first."""

    @abstractmethod
    def make_model(self, config: Config, record: Mapping[str, Any]) -> Model:
        """Make a new model for the data that `record` describes."""

    @abstractmethod
    def evaluate(self, model: Model, record: Mapping[str, Any], data: Data, split: str) -> str:
        """Score a model on a split of the data; return the result as text."""

    # What an experiment may change.

    def preset(self, name: str, **flags: str | None) -> Config:
        """The settings of a preset; `flags` has the values of `preset_flags`, None where not given."""
        return find_preset(self.presets, name)

    def upgrade(self, settings: dict[str, Any], written: int) -> dict[str, Any]:
        """Settings of an older `config.json`, of the format `written`, in the current format."""
        return settings

    def settle(self, config: Config) -> Config:
        """The configuration as it is recorded. Paths of a user's own data are absolute, so a run is used from any folder."""
        paths = {name: str(Path(path).resolve()) for name, path in self.paths(config).items()}
        return replace(config, **paths)

    def with_place_of(self, config: Config, recorded: Config) -> Config:
        """`config` with the paths of the data that `recorded` has, where both have a path: data may be moved."""
        there = self.paths(recorded)
        return replace(config, **{name: there[name] for name in self.paths(config) if name in there})

    def paths(self, config: Config) -> dict[str, str]:
        """The paths of a user's own data that a configuration has, by their settings."""
        given = {name: getattr(config, name) for name in self.path_settings}
        return {name: path for name, path in given.items() if path and path not in self.named_data}

    def record(self, data: Data) -> dict[str, Any]:
        """The JSON description of the data: at least source, sha256, sizes, and what `make_model` needs."""
        return {"source": data.source, "sha256": data.sha256, "sizes": dict(data.sizes)}

    def is_record(self, record: Mapping[str, Any]) -> bool:
        """Whether a description read from `config.json` is complete; its sha256 was checked already."""
        return True

    def fitted(self, data: Data, record: Mapping[str, Any]) -> Data:
        """The data for a model that was made for the data of a record; UsageError if they do not fit it."""
        return data

    def describe_data(self, data: Data) -> str:
        """One line about the data."""
        return f"{data.name}: " + ", ".join(f"{split} {size:,}" for split, size in data.sizes.items())

    def describe_model(self, config: Config) -> str:
        """The kind of model, for the progress line."""
        return self.name

    def describe_validation(self, figures: Mapping[str, float], record: Mapping[str, Any]) -> str:
        """The figures of a validation on the data of a record as text."""
        return named_values(figures)

    def count_parameters(self, config: Config, record: Mapping[str, Any]) -> int:
        """The number of trained parameters."""
        with torch.device("meta"):
            model = self.make_model(config, record)
        return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

    def figures(self, config: Config, record: Mapping[str, Any]) -> dict[str, float]:
        """What a comparison shows of a configuration besides its scores."""
        return {"parameters": self.count_parameters(config, record)}

    def flops_per_step(self, config: Config, record: Mapping[str, Any]) -> float:
        """Floating-point operations of a training step; 0 if they are not counted."""
        return 0.0

    def final_scores(self, run: Run, data: Data) -> dict[str, float]:
        """What a study measures on the best model of a finalist besides its validation, for example on a test split."""
        return {}

    def scores(self, run: Run, data: Data) -> dict[str, float]:
        """What a comparison shows of a trained run. The last one orders the table, lowest first."""
        return {self.score.name: run.best_validation()[1][self.score.name]}

    def sample(self, folder: Path) -> str:
        """Something the best model of a run made, as text; empty if it makes nothing that can be printed."""
        return ""

    def pictures(self, folders: Mapping[str, Path]) -> dict[str, str]:
        """More pictures of a comparison, SVG by file name, from one run of each variant; ImportError without matplotlib."""
        return {}

    def finish(self, run: Run, device: torch.device) -> None:
        """Called after training, in the first process: write a sample to the run's folder, for example."""

    def outcome(self, run: Run) -> str:
        """What `train` prints last, for example the sample that `finish` wrote."""
        return ""

    # What follows from it.

    def train(
        self,
        folder: str | Path,
        config: Config,
        data: Data,
        label: str,
        watch: Watch | None = None,
        origin: Origin | None = None,
    ) -> Run:
        """Train a model in a new run folder.

        Args:
            folder: the run's folder, new or empty.
            config: the settings.
            data: what the run reads.
            label: shown with the progress.
            watch: reads the metrics as they come.
            origin: the run whose best model the new one starts with; None: random weights.

        Raises:
            UsageError: a setting is invalid, the folder is taken, or the model or the data do not fit the origin.
        """
        if origin is not None:
            data = self.fitted(data, self.recorded(origin.run).record)
        task = self.start(config, data, origin)
        with open_run(Path(folder), self.run_config(config, data, origin)) as (run, state):
            return self._train(run, config, task, label, state, watch)

    def resume(
        self, folder: str | Path, data: Data, label: str, watch: Watch | None = None, steps: int | None = None
    ) -> Run:
        """Continue a run from its last commit. The result equals, bit for bit, that of a run never interrupted.

        Args:
            folder: the run's folder.
            data: what the run reads.
            label: shown with the progress.
            watch: reads the metrics as they come.
            steps: train a run that has ended up to this step, see `Schedule.extended`; None: to the end in its settings.

        Raises:
            UsageError: the folder holds no run of this experiment, the data differ from those the run read, or it is given more
                steps before it has ended.
        """
        place = Path(folder)
        config, record = self.recorded(place)
        check_same_data(place, record, data)
        data = self.fitted(data, record)
        schedule = config.schedule if steps is None else config.schedule.extended(steps)
        made: Any = config
        settings: Any = replace(made, schedule=schedule)
        run = Run.open(place)
        # before the first commit there are no weights yet but those that the run starts with
        task = self.start(settings, data, None if run.was_committed() else Origin.recorded(run.config, str(place)))
        with open_run(place) as (run, state):
            if steps is not None:
                _check_ended(place, state, config.schedule)
                if is_first():
                    run.change_config({"settings": asdict(settings)})
                rates = [f"{schedule.rate(config.schedule.steps + n):.2g}" for n in (0, 1)]
                warn_once(f"{label}  the learning rate was {rates[0]} at the end, and continues at {rates[1]}")
            return self._train(run, settings, task, label, state, watch)

    def load(self, folder: str | Path) -> Loaded[Config, Model]:
        """Load the best model of a run, its settings, and the description of its data.

        Raises:
            UsageError: the folder holds no run of this experiment, or no model yet.
        """
        run = Run.open(Path(folder))
        config, record = self.read_config(run.config, str(folder))
        return Loaded(load_best(self.make_model(config, record), run), config, record)

    def data_of(self, folder: str | Path, data_dir: Path | None = None) -> Data:
        """Load the data that a run read.

        Raises:
            UsageError: the data have changed since, so their splits would not be the run's.
        """
        config, record = self.recorded(folder)
        data = self.load_data(config, data_dir)
        check_same_data(Path(folder), record, data)
        return self.fitted(data, record)

    def run_config(self, config: Config, data: Data, origin: Origin | None = None) -> dict[str, Any]:
        """What `config.json` of a new run holds: the settings, a description of the data, and the origin if it has one."""
        settings: Any = config
        return {
            "experiment": self.name,
            "format": self.format,
            "settings": asdict(settings),
            self.data_key: self.record(data),
            **({} if origin is None else {ORIGIN: asdict(origin)}),
        }

    def recorded(self, folder: str | Path) -> Recorded[Config]:
        """Settings and data description of the run in `folder`."""
        return self.read_config(Run.open(Path(folder)).config, str(folder))

    def changed_settings(self, folder: Path, given: Config, data: Data) -> str:
        """The settings in which `given` differs from the run in `folder`, see `differences`. That the data moved is none.

        Raises:
            UsageError: the settings are the same, but `data` are others than the run read.
        """
        own, record = self.recorded(folder)
        changed = differences(own, self.with_place_of(given, own))
        if not changed:
            check_same_data(folder, record, data)
        return changed

    def read_config(self, config: Mapping[str, Any], place: str) -> Recorded[Config]:
        """Settings and data description from the content of a `config.json`.

        Raises:
            UsageError: it was written by another experiment or a newer version, or holds something invalid.
        """
        if config.get("experiment") != self.name:
            raise UsageError(
                f"{place}: not a run of hypernetworks {self.name} (its config.json says {config.get('experiment')!r})"
            )
        written = config.get("format", 1)
        if type(written) is not int or written < 1:
            raise UsageError(f"{place}: config.json has format {written!r}, expected an integer of at least 1")
        if written > self.format:
            raise UsageError(
                f"{place}: config.json has format {written}, written by a newer version; this one reads up to {self.format}"
            )
        match config:
            case {"settings": dict() as settings, self.data_key: {"sha256": str()} as record} if self.is_record(record):
                if written < self.format:
                    settings = self.upgrade(settings, written)
                return Recorded(from_json(self.config_type, settings, place), dict(record))
        raise UsageError(f"{place}: config.json has no valid settings or no valid {self.data_key}")

    def start(self, config: Config, data: Data, origin: Origin | None = None) -> Task[Model]:
        """The task before the first step. Invalid settings and data are found here, before a run is written."""
        device = find_device(config.device)
        torch.manual_seed(config.schedule.seed)
        record = self.record(data)
        try:
            model = self.make_model(config, record).to(device)
        except RuntimeError as error:
            count = self.count_parameters(config, record)
            reason = str(error).partition("\n")[0]
            raise FaultError(f"not enough memory for a model of {count:,} parameters: {reason}") from error
        if origin is not None:
            self._load_origin(model, config, origin)
        return self.task_type(model, config, data)

    def _load_origin(self, model: Model, config: Config, origin: Origin) -> None:
        """Give a new model the weights of its origin; UsageError if they do not fit."""
        try:
            model.load_state_dict(origin.weights())
        except RuntimeError as error:
            changed = differences(self.recorded(origin.run).config, config)
            raise UsageError(f"{origin.run}: its weights do not fit this model, which was given {changed}") from error

    def _train(
        self,
        run: Run,
        config: Config,
        task: Task[Model],
        label: str,
        state: Mapping[str, Any] | None,
        watch: Watch | None,
    ) -> Run:
        record = run.config[self.data_key]
        describe = partial(self.describe_validation, record=record)
        Trainer(task, config.schedule, run, state, watch, describe).train(label)
        if is_first():
            with suppress(ImportError):  # without matplotlib a run has no picture
                draw_run(run)
            self.finish(run, find_device(config.device))
        return run


def find_preset(presets: Mapping[str, Any], name: str) -> Any:
    """The preset called `name`; UsageError if there is none."""
    if name not in presets:
        raise UsageError(f"preset should be one of {', '.join(presets)}, got {name!r}")
    return presets[name]


def check_same_data(place: Path, record: Mapping[str, Any], data: DataSet) -> None:
    """Check that `data` is what the run at `place` read; UsageError if not."""
    if data.sha256 != record["sha256"]:
        was, now = _described(record), _described({"source": data.source, "sha256": data.sha256, "sizes": data.sizes})
        raise UsageError(f"{place}: was trained on other data than {data.name} has now: {was}; now {now}")


def _check_ended(place: Path, state: Mapping[str, Any] | None, schedule: Schedule) -> None:
    """UsageError unless a run has taken all steps of its schedule."""
    done = 0 if state is None else state["step"]
    if done != schedule.steps:
        early = " if it was not stopped early" if schedule.patience else ""
        raise UsageError(
            f"{place}: more steps are for a run that has ended, and it has taken {done} of {schedule.steps}: resume it without "
            f"--steps first{early}, or start a new run with --init-from {place}"
        )


def _described(record: Mapping[str, Any]) -> str:
    match record:
        case {"sizes": dict() as sizes}:
            held = ", ".join(f"{split} {size}" for split, size in sizes.items())
        case _:
            held = "sizes unknown"
    return f"{record.get('source')} with the sha256 {record['sha256'][:12]}… ({held})"
