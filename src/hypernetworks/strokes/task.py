"""Prediction of the next point of a drawing: the task that the training loop drives."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hypernetworks.processes import distributed, parts
from hypernetworks.strokes.batches import augmented, packed
from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.data import StrokeData
from hypernetworks.strokes.evaluate import evaluate
from hypernetworks.strokes.mixture import Mixture
from hypernetworks.strokes.model import StrokeModel
from hypernetworks.training.epochs import Epochs
from hypernetworks.training.loop import Task
from hypernetworks.training.random import generator


class StrokesTask(Task[StrokeModel]):
    """Whole drawings in epochs, with random proportions and fewer points."""

    unit = "points"

    def __init__(self, model: StrokeModel, config: StrokesConfig, data: StrokeData) -> None:
        self.model: StrokeModel = model
        self.network: nn.Module = distributed(model)
        self.parts: Sequence[slice] = parts(config.batch_size, config.schedule.accumulate)
        self.config: StrokesConfig = config
        self.data: StrokeData = data
        self.epochs: Epochs = Epochs(len(data.train), config.batch_size, config.schedule.seed)

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """−ln p of these drawings, for each point of an average part of the batch.

        Parts have different numbers of points. Divided by that of the average part, the mean over parts is that over points.
        """
        config, weight = self.config, self.model.head.weight
        batch = self.data.train.chosen(self.epochs.batch(step).tolist())
        draws = generator(config.schedule.seed, "proportions and points", step)
        drawn = augmented(batch, config.stretch, config.drop, draws)
        points = sum(len(lifted) for _, lifted in drawn) * (part.stop - part.start) / config.batch_size
        own = packed(drawn[part], self.data.scale).to(weight.device)
        values, _ = self.network(own.reads)
        offset, pen = Mixture.of(values.to(weight.dtype)).nats(own.offsets, own.pen)  # autocast may have changed it
        return (offset + pen).sum() / points, len(own.pen) - (part.stop - part.start)

    def validate(self) -> Mapping[str, float]:
        """Nats a point on the validation drawings, and the parts of the offsets and of the pen."""
        score = evaluate(self.model, self.data.validation, self.data.scale)
        return {"validation_loss": score.nats, "validation_offset": score.offset_nats, "validation_pen": score.pen_nats}

    def fields(self, loss: float) -> Mapping[str, str]:
        """The loss in nats."""
        return {"loss": f"{loss:.4f}"}

    def state(self) -> dict[str, Any]:
        """Nothing: the order of drawings and their changes depend on seed and step alone."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
