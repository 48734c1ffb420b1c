"""Drawings as what the model reads and what it predicts.

    reads      start, point 1, …, point P
    predicts   point 1, …, point P, end

Drawings of different lengths are packed, so no step is computed for padding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from hypernetworks.strokes.drawings import Drawings
from hypernetworks.strokes.mixture import DOWN, END
from hypernetworks.strokes.model import points_of

__all__ = ["Batch", "augmented", "packed"]


class Batch(NamedTuple):
    """Packed drawings."""

    reads: PackedSequence
    """What the model reads, five numbers at each step."""
    offsets: Tensor
    """What it predicts, in the order of `reads.data`: Δ, (steps, 2); zero at the end of a drawing."""
    pen: Tensor
    """DOWN, UP or END, (steps,)."""

    def to(self, device: torch.device) -> "Batch":
        """Move to a device."""
        reads: Any = self.reads  # torch declares no such arguments
        return Batch(reads.to(device), self.offsets.to(device), self.pen.to(device))


def packed(drawings: Sequence[tuple[Tensor, Tensor]], scale: float) -> Batch:
    """Pack drawings, each (offsets, lifted), with offsets divided by `scale`."""
    reads, offsets, states = [], [], []
    for offset, lifted in drawings:
        # one more row: before the first point for what is read, after the last one for what is predicted
        away = torch.cat([offset / scale, offset.new_zeros(1, 2)])
        pen = torch.cat([lifted.long(), torch.tensor([END])])
        start = torch.tensor([DOWN])
        reads.append(points_of(torch.cat([offset.new_zeros(1, 2), away[:-1]]), torch.cat([start, pen[:-1]])))
        offsets.append(away)
        states.append(pen)
    targets = [pack_sequence(parts, enforce_sorted=False).data for parts in (offsets, states)]
    return Batch(pack_sequence(reads, enforce_sorted=False), *targets)


def augmented(drawings: Drawings, stretch: float, drop: float, draws: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """The drawings with random proportions and fewer points, each (offsets, lifted).

        Δ ← Δ ⊙ (1 + stretch · u),   u uniform in [−1, 1)², for each drawing

    A point inside a stroke is removed with probability `drop`; the next offset then leads past it. First and last points of
    strokes stay. Source: Ha and Eck, arXiv 1704.03477, and their code.
    """
    stretched = drawings.offsets.double()
    factors = 1 + stretch * (2 * torch.rand(len(drawings), 2, generator=draws, dtype=torch.float64) - 1)
    counts = drawings.bounds.diff()
    places = (stretched * factors.repeat_interleave(counts, dim=0)).cumsum(0)
    first = torch.cat([torch.ones(1, dtype=torch.bool), drawings.lifted[:-1]])  # a stroke begins after a lifted pen
    kept = torch.rand(len(places), generator=draws) >= drop
    kept |= first | drawings.lifted
    offsets = torch.diff(places[kept], dim=0, prepend=places.new_zeros(1, 2)).float()
    # places run through all drawings, so that of a drawing's start is that of the last point before it
    numbers = torch.arange(len(drawings)).repeat_interleave(counts)[kept]
    sizes = torch.bincount(numbers, minlength=len(drawings)).tolist()
    return list(zip(offsets.split(sizes), drawings.lifted[kept].split(sizes), strict=True))
