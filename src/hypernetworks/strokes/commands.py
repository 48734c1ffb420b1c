"""The commands of `hypernetworks strokes`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor
from tyro.conf import OmitArgPrefixes, Positional

from hypernetworks.errors import UsageError, check_count
from hypernetworks.experiments.commands import EvaluateCommand, TrainCommand, preset_help
from hypernetworks.experiments.network_compare import NetworkCompareCommand
from hypernetworks.experiments.report import ReportedRun
from hypernetworks.experiments.report_command import ReportCommand
from hypernetworks.files import read_whole, write_whole
from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.drawings import strokes_of
from hypernetworks.strokes.experiment import STROKES, StrokesExperiment, canvas_of, load_run
from hypernetworks.strokes.generate import Drawn, Sampling, draw
from hypernetworks.strokes.own_strokes import read_beginning
from hypernetworks.strokes.pictures import Canvas, grid, grid_png
from hypernetworks.strokes.presets import PRESETS_IN_WORDS
from hypernetworks.strokes.report import page
from hypernetworks.training.device import find_device

_BEGINNING_LIMIT = 10_000_000


@dataclass(frozen=True)
class Train(TrainCommand):
    """Train a model that draws characters; the run folder holds the best model, the metrics, a curve and drawings."""

    experiment: ClassVar[StrokesExperiment] = STROKES
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "default"
    settings: Annotated[StrokesConfig, OmitArgPrefixes] = field(default_factory=StrokesConfig)
    out: Path = Path("runs/strokes")


@dataclass(frozen=True)
class Evaluate(EvaluateCommand):
    """Score the best model of a run on a split of its drawings, in nats a point."""

    experiment: ClassVar[StrokesExperiment] = STROKES
    split: str = "test"


@dataclass(frozen=True)
class Compare(NetworkCompareCommand):
    """Train several networks of equal size on the same drawings, and compare what each reaches and costs.

    The comparison chooses --hidden-size, --network and --seed for each model: give --parameters, --networks and --seeds. A flag
    may give networks settings of their own: --learning-rate lstm=3e-3 hyper-lstm=2e-3.
    """

    experiment: ClassVar[StrokesExperiment] = STROKES
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "default"
    settings: Annotated[StrokesConfig, OmitArgPrefixes] = field(default_factory=StrokesConfig)
    out: Path = Path("runs/strokes-compare")


@dataclass(frozen=True)
class Draw:
    """Draw with the best model of a run: a grid of drawings as SVG or PNG.

    Lines are coloured by how much the weights changed in the step that drew them, relative to the weights (hyper networks).
    """

    run: Positional[Path]
    """The run's folder."""
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)
    beginning: Path | None = None
    """A JSON file with the strokes that every drawing begins with: a list of strokes, each a list of [x, y], on a square of
    --side with y pointing down."""
    side: float = 100.0
    """The side of the square of the beginning; its corner is (0, 0)."""
    unfinished: bool = False
    """The model continues the last stroke of the beginning, instead of starting the next one."""
    columns: int = 5
    """Drawings in a row."""
    animate: bool = False
    """Draw stroke by stroke (.svg)."""
    out: Path = Path("drawings.svg")
    """The picture: .svg, .png, or .json for the points."""
    device: str = "auto"
    """cpu, cuda, …; auto uses cuda if available."""

    def __call__(self) -> None:
        """Write the picture and print its path."""
        check_count("columns", self.columns)
        if self.out.suffix not in (".svg", ".png", ".json"):
            raise UsageError(f"out should end in .svg, .png or .json, got {self.out}")
        if self.animate and self.out.suffix != ".svg":
            raise UsageError(f"animate needs an --out that ends in .svg, got {self.out}")
        model, _, record = load_run(self.run)
        canvas, scale = canvas_of(record), record["scale"]
        drawn = draw(model.to(find_device(self.device)), self.sampling, scale, self._beginning(canvas.size))
        if self.out.suffix == ".svg":
            content = grid(drawn, canvas, self.columns, self.animate).encode()
        elif self.out.suffix == ".png":
            content = _png(drawn, canvas, self.columns)
        else:
            content = _as_json(drawn)
        write_whole(self.out, content)
        unended = sum(not drawing.ended for drawing in drawn)
        note = f" ({unended} cut off at {self.sampling.longest} points)" if unended else ""
        print(f"drawings: {self.out}{note}")

    def _beginning(self, size: float) -> tuple[Tensor, Tensor] | None:
        if self.beginning is None:
            return None
        if not 0 < self.side < float("inf"):
            raise UsageError(f"side should be a finite number above 0, got {self.side}")
        content = read_whole(self.beginning, _BEGINNING_LIMIT)
        return read_beginning(content, str(self.beginning), self.side, size, self.unfinished)


@dataclass(frozen=True)
class Report(ReportCommand):
    """Write an HTML page about a run: drawings coloured by how much the generated weights change, curves, settings, parameters.

    The page needs no network and no other file. It compares the first run with the others.
    """

    experiment: ClassVar[StrokesExperiment] = STROKES
    sampling: Annotated[Sampling, OmitArgPrefixes] = field(default_factory=Sampling)

    def make_page(self, runs: Sequence[ReportedRun]) -> str:
        """With drawings of the model."""
        return page(runs, self.sampling)


def _png(drawn: Sequence[Drawn], canvas: Canvas, columns: int) -> bytes:
    try:
        return grid_png(drawn, canvas, columns)
    except ImportError as error:
        raise UsageError(
            "a .png needs matplotlib: pip install 'hypernetworks[plot]', or give an --out that ends in .svg"
        ) from error


def _as_json(drawn: Sequence[Drawn]) -> bytes:
    """The strokes of each drawing, relative to the place where the pen started, in the form that --data reads."""
    strokes = [
        [np.round(stroke, 2).tolist() for stroke in strokes_of(drawing.offsets, drawing.lifted)] for drawing in drawn
    ]
    return (json.dumps(strokes) + "\n").encode()
