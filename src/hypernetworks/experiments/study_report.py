"""The report of a study, made from its record alone: tables, curves, and what the finalists' models make."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hypernetworks.experiments.curves import Point, csv_of, draw_all
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.record import Record
from hypernetworks.experiments.results import Result
from hypernetworks.experiments.study_tables import (
    Runs,
    by_variant,
    cost_table,
    difference_table,
    diverged,
    equal_time_table,
)
from hypernetworks.files import write_whole
from hypernetworks.runs.run import Run

__all__ = ["study_pictures", "write_report"]


def write_report(experiment: Experiment[Any, Any, Any], folder: Path, record: Record, title: str) -> list[Path]:
    """Write report.md, curves.csv, and with matplotlib study.svg, study-flops.svg and study-seconds.svg.

    Args:
        experiment: what was trained.
        folder: where to write: the study's folder.
        record: what is reported; each variant has final runs with the same seeds.
        title: the title of page and pictures.
    """
    rows = by_variant(record.results)
    files = {
        "report.md": _page(experiment, folder, rows, record, title),
        "curves.csv": csv_of(_curves(rows, record.step_times), "validation_loss"),
    }
    try:
        files |= {f"study{end}.svg": picture for end, picture in study_pictures(record, title).items()}
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'hypernetworks[plot]')")
    for name, content in files.items():
        write_whole(folder / name, content.encode())
    return [folder / name for name in files]


def study_pictures(record: Record, title: str) -> dict[str, str]:
    """The validation curves of a study against steps, operations and seconds: SVG by the end of the file's name.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = by_variant(record.results)
    return draw_all(dict(_drawn(rows, _curves(rows, record.step_times))), "loss (nats)", title)


def _curves(rows: Mapping[str, Runs], step_times: Mapping[str, float]) -> dict[str, dict[int, list[Point]]]:
    return {variant: {seed: _curve(run, step_times) for seed, run in runs.items()} for variant, runs in rows.items()}


def _drawn(
    rows: Mapping[str, Runs], curves: Mapping[str, Mapping[int, list[Point]]]
) -> Iterator[tuple[str, list[list[Point]]]]:
    """What the pictures show of each variant, by its label: the curves of the runs that did not diverge, if there are any."""
    for variant, runs in rows.items():
        whole = [seed for seed, run in runs.items() if run.state != "diverged"]
        label = variant if len(whole) in (0, len(runs)) else f"{variant} ({len(whole)} of {len(runs)} runs)"
        yield label, [curves[variant][seed] for seed in whole or runs]


def _curve(result: Result, step_times: Mapping[str, float]) -> list[Point]:
    """The validations of a run; their seconds are steps times the measured time of a step, if it was measured."""
    curve = [Point(**point) for point in result.curve]  # type: ignore[arg-type]
    if result.variant not in step_times:
        return curve
    return [point._replace(seconds=round(point.step * step_times[result.variant], 3)) for point in curve]


def _page(
    experiment: Experiment[Any, Any, Any], folder: Path, rows: Mapping[str, Runs], record: Record, title: str
) -> str:
    seeds = list(next(iter(rows.values())))
    paired = len(seeds) > 1
    lines = [f"# {title}", "", *cost_table(experiment, rows, record.results, record.step_times), ""]
    lines += [
        f"Loss in nats, mean ± standard deviation over seeds {' '.join(map(str, seeds))}. The settings are those of the trial "
        "with the lowest validation loss, and each run's model is that of its lowest validation: the validation loss was "
        "selected for.",
        "",
    ]
    if any(map(diverged, [*rows.values(), *by_variant(record.at_equal_time).values()])):
        lines += [
            "A run that diverged counts with the lowest validation loss that it reached before. The settings were chosen by "
            "trials of one seed and fewer steps, and do not suit every seed.",
            "",
        ]
    if record.step_times:
        lines += [
            "ms/step is the shortest of several training steps of each network, measured in turn; the seconds of "
            "study-seconds.svg and curves.csv are steps times this.",
            "",
        ]
    if len(rows) > 1 and paired:
        lines += ["## Paired differences", "", *difference_table(rows, rows), ""]
        lines += [
            "Validation loss of the row minus that of the column, in nats, with the 95 % t interval over paired seeds.",
            "",
        ]
    if record.at_equal_time:
        equal = by_variant(record.at_equal_time)
        lines += ["## At equal training time", "", *equal_time_table(experiment, equal), ""]
        lines += [
            "Each has as many steps as fit in the time in which the slowest takes those of the table above, with its learning "
            "rate's schedule stretched over them. The settings are the same as there: they were not searched again.",
            "",
        ]
        lines += [*difference_table(equal, equal), ""] if paired else []
    samples = {variant: _sample(experiment, folder, runs[seeds[0]]) for variant, runs in rows.items()}
    if any(samples.values()):
        lines += [f"## What the models make (seed {seeds[0]})", ""]
        for variant, sample in samples.items():
            lines += [f"### {variant}", "", *(f"    {line}" for line in sample.splitlines()), ""]
    return "\n".join(lines)


def _sample(experiment: Experiment[Any, Any, Any], folder: Path, result: Result) -> str:
    place = folder / "finals" / result.name
    if result.sample or not place.is_dir():
        return result.sample
    return experiment.outcome(
        Run.open(place)
    )  # the result is of an earlier version, which kept it in the run's folder alone
