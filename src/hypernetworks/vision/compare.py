"""Plain and generated kernels, trained on the same images beside each other: what each reaches, what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from rich.table import Table

from hypernetworks.experiments.compare import Experiment, mean_curve, speed, spread, train_all, write_rows
from hypernetworks.experiments.config import find_device
from hypernetworks.files import write_whole
from hypernetworks.runs.curve import Curve, curve_of, draw
from hypernetworks.runs.run import Run
from hypernetworks.vision.config import VisionConfig, read_run_config
from hypernetworks.vision.data import ImageData
from hypernetworks.vision.evaluate import evaluate
from hypernetworks.vision.models import Kernels, count_parameters
from hypernetworks.vision.pictures import draw_kernels
from hypernetworks.vision.train import ImageTask, load_run, resume, train


@dataclass(frozen=True)
class Row:
    """One variant's line of the table, over all its seeds."""

    kernels: str
    parameters: int
    seconds_per_step: float
    """Of training, validations left out; mean over seeds."""
    validation_errors: list[float]
    """Of each seed's best model, per cent."""
    test_errors: list[float]
    """Of the same models."""
    runs: list[str]


def compare(
    folder: Path, configs: Mapping[Kernels, VisionConfig], seeds: Sequence[int], data: ImageData, go_on: bool
) -> list[Row]:
    """Train every config with every seed, each in a run folder of its own below `folder`; write compare.json there.

    With go_on, runs that are there are resumed (finished ones only read), so a comparison can be interrupted.
    """
    experiment = Experiment(
        config_of=lambda run: read_run_config(run.config, str(run.folder))[0],
        train=lambda place, config: train(place, config, data, place.name),
        resume=lambda place: resume(place, data, place.name),
    )
    runs = train_all(folder, configs, seeds, experiment, go_on)
    rows = [_row(configs[kernels], runs[kernels], data) for kernels in configs]
    write_rows(folder, rows)
    return rows


def _row(config: VisionConfig, runs: Sequence[Run], data: ImageData) -> Row:
    device = find_device(config.device)
    errors = []
    for run in runs:
        model = load_run(run.folder)[0].to(device)
        errors.append([evaluate(model, part.to(device), data.views).error for part in (data.validation, data.test)])
    return Row(
        kernels=config.model.kernels,
        parameters=count_parameters(config.model),
        seconds_per_step=config.batch_size / mean(speed(run.metrics(), ImageTask.unit) for run in runs),
        validation_errors=[validation for validation, _ in errors],
        test_errors=[test for _, test in errors],
        runs=[str(run.folder) for run in runs],
    )


def table(rows: Sequence[Row]) -> Table:
    """The rows for the terminal, best first."""
    shown = Table("kernels", title="Plain and generated kernels on the same images")
    for heading in ("parameters", "s/step", "validation error %", "test error %"):
        shown.add_column(heading, justify="right")
    for row in sorted(rows, key=lambda row: mean(row.test_errors)):
        errors = (spread(errors, digits=2) for errors in (row.validation_errors, row.test_errors))
        shown.add_row(row.kernels, f"{row.parameters:,}", f"{row.seconds_per_step:.4f}", *errors)
    return shown


def plot(folder: Path, rows: Sequence[Row], title: str) -> list[Path]:
    """Write compare.svg (validation errors, mean over seeds) and kernels.svg; ImportError without matplotlib."""
    errors: dict[str, Curve] = {}
    for row in rows:
        metrics = [Run.open(Path(run)).metrics() for run in row.runs]
        errors[row.kernels] = mean_curve([curve_of(lines, "validation_error") for lines in metrics])
    pictures = {
        "compare.svg": draw(errors, "validation error, %", title),
        "kernels.svg": draw_kernels({row.kernels: load_run(Path(row.runs[0]))[0] for row in rows}),
    }
    for name, picture in pictures.items():
        write_whole(folder / name, picture.encode())
    return [folder / name for name in pictures]
