"""Several variants of an experiment, each with several seeds, beside each other: a run for each, kept where it is finished."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from hypernetworks.errors import UsageError
from hypernetworks.files import write_whole
from hypernetworks.runs.curve import Curve
from hypernetworks.runs.lock import only_writer
from hypernetworks.runs.run import Run
from hypernetworks.training.schedule import Schedule


class Scheduled(Protocol):
    """The config of an experiment: a dataclass with a schedule, whose seed tells its runs apart."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def schedule(self) -> Schedule:
        """How long, how fast, with which seed."""
        ...


Name = TypeVar("Name", bound=str)
Config = TypeVar("Config", bound=Scheduled)

_TAKEN = "{}: already holds a run: give --resume to go on with it, or another --out"


@dataclass(frozen=True)
class Experiment(Generic[Config]):
    """What a comparison needs of an experiment."""

    config_of: Callable[[Run], Config]
    """The config of a run that is there."""
    train: Callable[[Path, Config], Run]
    """Train in a new run folder."""
    resume: Callable[[Path], Run]
    """Go on in a run folder."""


def train_all(
    folder: Path, configs: Mapping[Name, Config], seeds: Sequence[int], experiment: Experiment[Config], go_on: bool
) -> dict[Name, list[Run]]:
    """Train every config with every seed, each in the run folder NAME-seedSEED below `folder`; the runs by name.

    With go_on, runs that are there are resumed (finished ones only read), so a comparison can be interrupted.

    Raises:
        UsageError: the seeds are none or not all different, or a folder is taken; found before the first is trained.
    """
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UsageError(f"seeds should be one or more different numbers, got {' '.join(map(str, seeds)) or 'none'}")
    # One seed of all variants before the next, so that an early end still compares. All that can be refused is refused before
    # the first is trained.
    planned: list[tuple[Name, Path, Config]] = [
        (name, folder / f"{name}-seed{seed}", replace(config, schedule=replace(config.schedule, seed=seed)))
        for seed in seeds
        for name, config in configs.items()
    ]
    if not go_on and (folder / "compare.json").exists():
        raise UsageError(_TAKEN.format(folder))
    for _, place, config in planned:
        _check_place(place, config, experiment, go_on)
    runs: dict[Name, list[Run]] = {}
    with only_writer(folder):
        for name, place, config in planned:
            run = experiment.resume(place) if _holds_run(place) else experiment.train(place, config)
            runs.setdefault(name, []).append(run)
    return runs


def _check_place(folder: Path, config: Config, experiment: Experiment[Config], go_on: bool) -> None:
    """Refuse a run's folder that holds a run, unless it may go on and has the same settings."""
    if not _holds_run(folder):
        return
    if not go_on:
        raise UsageError(_TAKEN.format(folder))
    if experiment.config_of(Run.open(folder)) != config:
        raise UsageError(f"{folder}: was trained with other settings: give the same ones, or another --out")


def _holds_run(folder: Path) -> bool:
    return (folder / "config.json").exists()


def write_rows(folder: Path, rows: Sequence[Any]) -> None:
    """Write compare.json, the lines of the table, each a dataclass."""
    write_whole(folder / "compare.json", (json.dumps([asdict(row) for row in rows], indent=2) + "\n").encode())


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, with the standard deviation where there are several."""
    shown = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{shown}"


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves over the same steps, point by point."""
    return [(points[0][0], mean(value for _, value in points)) for points in zip(*curves, strict=True)]


def speed(rows: Sequence[Mapping[str, Any]], unit: str) -> float:
    """Units a second over all lines of a run's metrics; each tells the speed and the time of its steps."""
    timed = [(row[f"{unit}_per_second"], row["seconds"]) for row in rows if f"{unit}_per_second" in row]
    return sum(units * seconds for units, seconds in timed) / sum(seconds for _, seconds in timed)
