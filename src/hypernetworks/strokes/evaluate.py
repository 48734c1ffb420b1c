"""Scoring a stroke model on drawings.

    nats a point = −Σ ln p(points and ends of all drawings) / number of points

The density of an offset has the inverse unit of an area, so the score depends on the unit: offsets are in deviations of the
training set. Scores on data that were simplified or scaled in another way cannot be compared.
"""

from dataclasses import dataclass

import torch

from hypernetworks.processes import count, rank, summed
from hypernetworks.strokes.batches import packed
from hypernetworks.strokes.drawings import Drawings
from hypernetworks.strokes.mixture import Mixture
from hypernetworks.strokes.model import StrokeModel

__all__ = ["StrokeScore", "evaluate"]

CHUNK = 100
"""Drawings per forward pass."""


@dataclass(frozen=True)
class StrokeScore:
    """The score of a model on a split.

    Example:
        >>> from hypernetworks.strokes import StrokeScore
        >>> StrokeScore(drawings=2, points=9, offset_nats=-1.5, pen_nats=0.25).nats
        -1.25
    """

    drawings: int
    points: int
    offset_nats: float
    """The part of the offsets, for each point."""
    pen_nats: float
    """The part of the pen, for each point."""

    @property
    def nats(self) -> float:
        """−ln p for each point."""
        return self.offset_nats + self.pen_nats


@torch.inference_mode()
def evaluate(model: StrokeModel, drawings: Drawings, scale: float) -> StrokeScore:
    """Score a model in evaluation mode, then restore its training mode.

    All processes of a group must call this together. Each gets the score of all drawings.
    """
    training = model.training
    model.eval()
    chunks = range(0, len(drawings), CHUNK)
    sums = torch.zeros(len(chunks), 2, dtype=torch.float64)  # zero where another process computes them
    device = model.head.weight.device
    try:
        for number in range(rank(), len(chunks), count()):
            some = range(chunks[number], min(chunks[number] + CHUNK, len(drawings)))
            batch = packed([drawings.drawing(k) for k in some], scale).to(device)
            values, _ = model(batch.reads)
            parts = Mixture.of(values).nats(batch.offsets, batch.pen)
            sums[number] = torch.stack([part.double().sum() for part in parts])
    finally:
        model.train(training)
    offset, pen = (sum(part.tolist()) / len(drawings.offsets) for part in summed(sums).unbind(dim=1))
    return StrokeScore(len(drawings), len(drawings.offsets), offset, pen)
