"""The strokes experiment: networks that draw characters, or anything that a pen draws, point by point."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from hypernetworks.experiments import Experiment, Score
from hypernetworks.experiments.sizes import parameters_of
from hypernetworks.runs.run import Run
from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.data import NAMED_SETS, StrokeData, load_strokes
from hypernetworks.strokes.evaluate import evaluate
from hypernetworks.strokes.generate import Sampling, draw
from hypernetworks.strokes.model import StrokeModel
from hypernetworks.strokes.pictures import Canvas, grid
from hypernetworks.strokes.presets import PRESETS
from hypernetworks.strokes.task import StrokesTask
from hypernetworks.training.device import find_device
from hypernetworks.training.loop import Task

__all__ = ["DRAWINGS", "STROKES", "StrokesExperiment", "canvas_of", "load_run"]

DRAWINGS: Final = "drawings.svg"


class StrokesExperiment(Experiment[StrokesConfig, StrokeData, StrokeModel]):
    """Prediction of the next point, scored in nats a point."""

    name = "strokes"
    data_key = "drawings"
    config_type = StrokesConfig
    task_type: type[Task[StrokeModel]] = StrokesTask
    presets: Mapping[str, Any] = PRESETS
    score: ClassVar[Score] = Score("validation_loss", "nats a point", digits=4)
    variant = "network"
    path_settings: ClassVar[Sequence[str]] = ("data",)
    named_data: ClassVar[Collection[str]] = NAMED_SETS
    if_moved = "if the run's drawings have moved, give their new path"
    headings: ClassVar[Mapping[str, str]] = {
        "hidden_size": "hidden",
        "points_per_second": "points/s",
        "validation_nats": "validation nats",
        "test_nats": "test nats",
    }

    def data_name(self, config: StrokesConfig) -> str:
        """The name or path of the drawings."""
        return config.data

    def load_data(self, config: StrokesConfig, data_dir: Path | None) -> StrokeData:
        """Load the drawings."""
        return load_strokes(config.data, data_dir)

    def record(self, data: StrokeData) -> dict[str, Any]:
        """Source, checksum, sizes, and what a picture of the model's drawings needs."""
        return {
            **super().record(data),
            "scale": data.scale,
            "size": data.size,
            "attribution": data.attribution,
        }

    def is_record(self, record: Mapping[str, Any]) -> bool:
        """Whether the unit and the size are numbers."""
        match record:
            case {"scale": float() as scale, "size": float() as size, "attribution": str()}:
                return 0 < scale < float("inf") and 0 < size < float("inf")
        return False

    def make_model(self, config: StrokesConfig, record: Mapping[str, Any]) -> StrokeModel:
        """Make a stroke model."""
        return StrokeModel(config.model)

    def count_parameters(self, config: StrokesConfig, record: Mapping[str, Any]) -> int:
        """The number of parameters."""
        return parameters_of(lambda: StrokeModel(config.model), config.model)

    def describe_data(self, data: StrokeData) -> str:
        """Name, sizes and the number of points."""
        return f"{super().describe_data(data)} drawings, {len(data.train.offsets):,} points to train on"

    def describe_model(self, config: StrokesConfig) -> str:
        """The name of the network."""
        return config.model.network

    def describe_validation(self, figures: Mapping[str, float], record: Mapping[str, Any]) -> str:
        """Nats a point."""
        return f"{figures['validation_loss']:.4f} nats a point"

    def evaluate(self, model: StrokeModel, record: Mapping[str, Any], data: StrokeData, split: str) -> str:
        """Score a split."""
        score = evaluate(model, getattr(data, split), record["scale"])
        return (
            f"{score.drawings:,} drawings, {score.points:,} points: {score.nats:.4f} nats a point "
            f"(offsets {score.offset_nats:.4f}, pen {score.pen_nats:.4f})"
        )

    def figures(self, config: StrokesConfig, record: Mapping[str, Any]) -> dict[str, float]:
        """Size and number of parameters."""
        return {"hidden_size": config.model.hidden_size, **super().figures(config, record)}

    def scores(self, run: Run, data: StrokeData) -> dict[str, float]:
        """The nats a point of the best model on the validation and test drawings."""
        model, config, record = self.load(run.folder)
        model.to(find_device(config.device))
        return {
            f"{split}_nats": evaluate(model, getattr(data, split), record["scale"]).nats
            for split in ("validation", "test")
        }

    def pictures(self, folders: Mapping[str, Path]) -> dict[str, str]:
        """A row of drawings of each variant."""
        loaded = [self.load(folder) for folder in folders.values()]
        drawn = [row for model, _, record in loaded for row in draw(model, Sampling(count=10), record["scale"])]
        return {"drawings.svg": grid(drawn, canvas_of(loaded[0].record), columns=10)}

    def finish(self, run: Run, device: torch.device) -> None:
        """Draw some characters with the best model."""
        model, _, record = self.load(run.folder)
        drawn = draw(model.to(device), Sampling(), record["scale"])
        run.write_text(DRAWINGS, grid(drawn, canvas_of(record)))

    def outcome(self, run: Run) -> str:
        """Where the drawings are."""
        return f"drawings: {run.folder / DRAWINGS}"


STROKES: Final = StrokesExperiment()
"""The experiment: `STROKES.train`, `STROKES.resume` and `STROKES.load` are what the commands call."""


def canvas_of(record: Mapping[str, Any]) -> Canvas:
    """What a picture of a model's drawings needs, from the record of its run."""
    return Canvas(record["size"], record["attribution"])


def load_run(folder: Path) -> tuple[StrokeModel, StrokesConfig, Mapping[str, Any]]:
    """Load the best model of a run, its settings, and the record of its data, with the unit of the offsets as "scale".

    Raises:
        UsageError: the folder holds no run of the strokes experiment, or no model yet.
    """
    return STROKES.load(folder)
