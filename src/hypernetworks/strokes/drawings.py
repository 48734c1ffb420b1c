"""Drawings as a pen makes them: offsets, and whether the pen is lifted.

    (Δx_n, Δy_n, lifted_n)        from point n − 1 to point n; lifted: the stroke ends at point n

The pen starts at the origin, so the first offset leads to the first point. y points down, as on a page. This is the "stroke-3"
form of Ha and Eck, "A Neural Representation of Sketch Drawings", arXiv 1704.03477.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hypernetworks.errors import UsageError

__all__ = ["Drawings", "Stroke", "check_offsets", "offsets_of", "strokes_of"]

Stroke = np.ndarray
"""The points of a stroke in the order of writing, (points, 2)."""


@dataclass(frozen=True, eq=False)
class Drawings:
    """Several drawings, one after another.

    P points in all, N drawings.

    Example:
        >>> from hypernetworks.strokes import Drawings
        >>> cross = torch.tensor([[-5.0, 0], [10, 0], [-5, -5], [0, 10]]), torch.tensor([False, True, False, True])
        >>> drawings = Drawings.of([cross, cross], ["a", "b"])
        >>> len(drawings), drawings.drawing(1)[0].shape
        (2, torch.Size([4, 2]))
    """

    offsets: Tensor
    """(P, 2), float32."""
    lifted: Tensor
    """(P,), bool. The last point of each drawing is lifted."""
    bounds: Tensor
    """(N + 1,), int64: drawing n has the points bounds[n] to bounds[n + 1] − 1."""
    names: tuple[str, ...]
    """What each drawing shows, N texts."""

    def __len__(self) -> int:
        return len(self.names)

    def drawing(self, number: int) -> tuple[Tensor, Tensor]:
        """The offsets (points, 2) and lifted (points,) of one drawing."""
        own = slice(int(self.bounds[number]), int(self.bounds[number + 1]))
        return self.offsets[own], self.lifted[own]

    def chosen(self, numbers: Sequence[int]) -> "Drawings":
        """The drawings of these numbers, in this order."""
        parts = [self.drawing(number) for number in numbers]
        return Drawings.of(parts, [self.names[number] for number in numbers])

    def extent(self) -> float:
        """The largest coordinate of a point, from the place where the pen started."""
        return max(self.drawing(number)[0].double().cumsum(0).abs().max().item() for number in range(len(self)))

    def digest(self) -> str:
        """A checksum of all points and bounds."""
        digest = hashlib.sha256()
        for tensor in (self.offsets, self.lifted, self.bounds):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    @staticmethod
    def of(parts: Sequence[tuple[Tensor, Tensor]], names: Sequence[str]) -> "Drawings":
        """Put drawings, each (offsets, lifted), one after another."""
        counts = torch.tensor([0, *(len(lifted) for _, lifted in parts)])
        offsets = torch.cat([torch.empty(0, 2), *(part for part, _ in parts)]).float()
        lifted = torch.cat([torch.empty(0, dtype=torch.bool), *(part for _, part in parts)])
        return Drawings(offsets, lifted, counts.cumsum(0), tuple(names))


def offsets_of(strokes: Sequence[Stroke], start: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The offsets and the lifted flags of a drawing whose pen starts at a place."""
    points = np.concatenate([np.asarray(start, dtype=np.float64)[None], *strokes])
    lifted = np.zeros(len(points) - 1, dtype=bool)
    lifted[np.cumsum([len(stroke) for stroke in strokes]) - 1] = True
    return torch.from_numpy(np.diff(points, axis=0)).float(), torch.from_numpy(lifted)


def strokes_of(offsets: Tensor, lifted: Tensor) -> list[Stroke]:
    """The strokes of a drawing relative to the place where its pen started. The last one may be unfinished."""
    points = offsets.double().cumsum(0).numpy()
    ends = [int(end) + 1 for end in lifted.nonzero()]
    return [part for part in np.split(points, ends) if len(part)]


def check_offsets(offsets: np.ndarray, lifted: np.ndarray, place: str) -> None:
    """Check a drawing that a user provides.

    Raises:
        UsageError: it has fewer than two points, or an offset that is not finite or above a million units.
    """
    if len(offsets) < 2:
        raise UsageError(f"{place}: has {len(offsets)} points, a drawing needs at least 2")
    if not (np.abs(offsets) < 1e6).all():
        raise UsageError(f"{place}: has an offset that is not finite or not below a million")
    if not lifted[-1]:
        raise UsageError(f"{place}: the pen should be lifted at the last point")
