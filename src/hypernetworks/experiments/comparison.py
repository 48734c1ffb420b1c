"""Comparing variants of an experiment: one run for each variant and seed, one table, one plot."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hypernetworks.errors import UsageError
from hypernetworks.experiments.curves import Point, csv_of, draw_all, points
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.parts import Config, Data, Model
from hypernetworks.experiments.statistics import Difference, paired_difference, spread
from hypernetworks.files import write_whole
from hypernetworks.runs.curve import Curve, curve_of
from hypernetworks.runs.lock import only_writer
from hypernetworks.runs.run import Run

__all__ = ["ComparisonRow", "compare", "differences", "figures_of", "plot", "table"]

_TAKEN = "{}: already holds a run: give --resume to continue it, or another --out"


@dataclass(frozen=True)
class ComparisonRow:
    """One variant of a comparison, over all its seeds."""

    variant: str
    """The name that the variant has in tables and run folders."""
    figures: dict[str, float]
    """What the variant costs, such as parameters and units per second while training."""
    scores: dict[str, list[float]]
    """What its best models reach, one value per seed. The last score orders the table, lowest first."""
    runs: list[str]
    """The run folder of each seed."""


def compare(
    experiment: Experiment[Config, Data, Model],
    folder: Path,
    configs: Mapping[str, Config],
    seeds: Sequence[int],
    data: Data,
    resume: bool,
) -> list[ComparisonRow]:
    """Train each configuration with each seed, and write `compare.json` and `curves.csv`.

    Args:
        experiment: what is trained.
        folder: the comparison's folder; the run of a variant and a seed is in VARIANT-seedSEED below it.
        configs: the configuration of each variant.
        seeds: the seeds of the runs.
        data: what all runs read.
        resume: continue the runs that exist; finished ones are only read.

    Returns:
        The rows in the order of `configs`.

    Raises:
        UsageError: there are no seeds, two are equal, or a folder is taken. Checked before the first run is trained.
    """
    runs = _train_all(experiment, folder, configs, seeds, data, resume)
    rows = [_row(experiment, name, configs[name], runs[name], data) for name in configs]
    content = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
    write_whole(folder / "compare.json", content.encode())
    curves = csv_of({row.variant: row_curves(experiment, row) for row in rows}, experiment.score.name)
    write_whole(folder / "curves.csv", curves.encode())
    return rows


def _train_all(
    experiment: Experiment[Config, Data, Model],
    folder: Path,
    configs: Mapping[str, Config],
    seeds: Sequence[int],
    data: Data,
    resume: bool,
) -> dict[str, list[Run]]:
    if len(set(seeds)) != len(seeds) or not seeds:
        raise UsageError(f"seeds should be one or more different numbers, got {' '.join(map(str, seeds)) or 'none'}")
    # All variants with the first seed, then with the next, so that an interrupted comparison still compares.
    planned = [
        (name, folder / f"{name}-seed{seed}", _with_seed(config, seed))
        for seed in seeds
        for name, config in configs.items()
    ]
    if not resume and (folder / "compare.json").exists():
        raise UsageError(_TAKEN.format(folder))
    for _, place, config in planned:
        _check_place(experiment, place, config, data, resume)
    if resume and not any(_holds_run(place) for _, place, _ in planned):
        print(f"{folder}: holds no comparison yet: starting one", file=sys.stderr)
    runs: dict[str, list[Run]] = {}
    with only_writer(folder):
        for name, place, config in planned:
            if _holds_run(place):
                run = experiment.resume(place, data, place.name)
            else:
                run = experiment.train(place, config, data, place.name)
            runs.setdefault(name, []).append(run)
    return runs


def _with_seed(config: Config, seed: int) -> Config:
    made: Any = config
    return replace(made, schedule=replace(config.schedule, seed=seed))


def _check_place(
    experiment: Experiment[Config, Data, Any], folder: Path, config: Config, data: Data, resume: bool
) -> None:
    """Refuse a folder that holds a run, unless it may be resumed and has the same settings."""
    if not _holds_run(folder):
        return
    if not resume:
        raise UsageError(_TAKEN.format(folder))
    if experiment.changed_settings(folder, config, data):
        raise UsageError(f"{folder}: was trained with other settings: give the same ones, or another --out")


def _holds_run(folder: Path) -> bool:
    return (folder / "config.json").exists()


def _row(
    experiment: Experiment[Config, Data, Model], name: str, config: Config, runs: Sequence[Run], data: Data
) -> ComparisonRow:
    scores = [experiment.scores(run, data) for run in runs]
    return ComparisonRow(
        variant=name,
        figures=figures_of(experiment, config, experiment.record(data), runs),
        scores={key: [score[key] for score in scores] for key in scores[0]},
        runs=[str(run.folder) for run in runs],
    )


def figures_of(
    experiment: Experiment[Config, Any, Any], config: Config, record: Mapping[str, Any], runs: Sequence[Run]
) -> dict[str, float]:
    """The experiment's figures of a configuration, and the training speed of its runs, averaged over them."""
    key = f"{experiment.task_type.unit}_per_second"
    return {**experiment.figures(config, record), key: mean(training_speed(run.metrics(), key) for run in runs)}


def training_speed(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Units per second over all training steps of a run's metrics; time spent on validation does not count."""
    timed = [(row[key], row["seconds"]) for row in rows if key in row]
    return sum(speed * seconds for speed, seconds in timed) / sum(seconds for _, seconds in timed)


def table(experiment: Experiment[Any, Any, Any], rows: Sequence[ComparisonRow]) -> Table:
    """The rows as a table for the terminal, best first."""
    shown = Table(
        title=f"{experiment.name}: {len(rows)} variants on the same data", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    shown.add_column(experiment.variant, no_wrap=True)
    for key in (*rows[0].figures, *rows[0].scores):  # in a narrow terminal, a number takes two lines and loses no digit
        shown.add_column(experiment.headings.get(key, key.replace("_", " ")), justify="right", overflow="fold")
    against = differences(rows)
    if against:
        shown.add_column(f"to {rows[0].variant}", justify="right", overflow="fold")
        if len(rows[0].runs) > 1:
            shown.caption = f"difference to {rows[0].variant} over paired seeds, with its 95 % t interval"
    for row in sorted(rows, key=lambda row: mean([*row.scores.values()][-1])):
        figures = (f"{value:,.0f}" for value in row.figures.values())
        scores = (spread(values, experiment.score.digits) for values in row.scores.values())
        difference = against[row.variant].text(experiment.score.digits) if row.variant in against else ""
        shown.add_row(row.variant, *figures, *scores, *([difference] if against else []))
    return shown


def plot(
    experiment: Experiment[Any, Any, Any], folder: Path, rows: Sequence[ComparisonRow], title: str, caption: str = ""
) -> list[Path]:
    """Write the validation curves averaged over seeds, and the experiment's own pictures.

    `compare.svg` is against steps, `compare-flops.svg` against operations, `compare-seconds.svg` against the time of training.
    Training curves are drawn behind the first, where the experiment says how the training loss compares with the score.

    Raises:
        ImportError: matplotlib is not installed.
    """
    score = experiment.score
    validation: dict[str, list[list[Point]]] = {}
    training: dict[str, Curve] = {}
    for row in rows:
        validation[row.variant] = [list(run) for run in row_curves(experiment, row).values()]
        if score.follows_loss:
            metrics = [Run.open(Path(run)).metrics() for run in row.runs]
            losses = mean_curve([curve_of(lines, "loss") for lines in metrics])
            validated = next(line for line in metrics[0] if score.name in line)
            factor = validated[score.name] / validated["validation_loss"]
            training[row.variant] = [(step, loss * factor) for step, loss in losses]
    drawn = draw_all(validation, score.label, title, training, caption)
    pictures = {f"compare{end}.svg": picture for end, picture in drawn.items()}
    pictures |= experiment.pictures({row.variant: Path(row.runs[0]) for row in rows})
    for name, picture in pictures.items():
        write_whole(folder / name, picture.encode())
    return [folder / name for name in pictures]


def row_curves(experiment: Experiment[Any, Any, Any], row: ComparisonRow) -> dict[int, list[Point]]:
    """The validation curve of each run of a row, by its seed."""
    made = {}
    for folder in map(Path, row.runs):
        config, record = experiment.recorded(folder)
        flops = experiment.flops_per_step(config, record)
        made[config.schedule.seed] = points(Run.open(folder).metrics(), experiment.score.name, flops)
    return made


def differences(rows: Sequence[ComparisonRow]) -> dict[str, Difference]:
    """The paired difference of every other row to the first, in the score that orders the table, by variant."""
    first, *others = ([*row.scores.values()][-1] for row in rows)
    return {row.variant: paired_difference(other, first) for row, other in zip(rows[1:], others, strict=True)}


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean of curves at the steps that all of them have: a run may have ended early."""
    found = [dict(curve) for curve in curves]
    return [(step, mean(curve[step] for curve in found)) for step in found[0] if all(step in curve for curve in found)]
