"""What was measured: one figure for each contender, network, size and quantity."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hypernetworks.bench.lineup import is_ours, yardstick
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.text.model import Network


@dataclass(frozen=True)
class Figure:
    """Seconds of each round, or, for memory, bytes once; none where it was refused."""

    quantity: Quantity
    size: Size
    network: Network
    contender: str
    values: tuple[float, ...] = ()
    busy: tuple[float, ...] = ()
    """The same while another process kept one core busy."""
    difference: float | None = None
    """The largest of the check against the reference path, see parity.py."""
    refusal: str | None = None
    """Why there are no values."""
    flops: int | None = None
    """Of a run, where all of them are known."""

    @property
    def least(self) -> float | None:
        """The smallest value."""
        return min(self.values, default=None)

    @property
    def least_busy(self) -> float | None:
        """The smallest value while a core was busy."""
        return min(self.busy, default=None)

    def as_json(self) -> dict[str, Any]:
        """All of it, with minimum and median."""
        numbers = {"minimum": self.least, "median": median(self.values) if self.values else None}
        return asdict(self) | {"size": self.size._asdict()} | numbers


class Group:
    """The figures of one network, size and quantity, which were measured in turn: what ratios are made of."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.figures = list(figures)
        self._named = {figure.contender: figure for figure in figures}

    def to(self, figure: Figure, other: str, *, busy: bool = False) -> float | None:
        """The figure over that of another contender, or of its cell for a cell; None where one of them is missing."""
        against = self._named.get(yardstick(figure.contender, other))
        if against is None:
            return None
        mine, theirs = (figure.least_busy, against.least_busy) if busy else (figure.least, against.least)
        return mine / theirs if mine and theirs else None

    def of(self, figure: Figure, other: str) -> float | None:
        """The figure of another contender over this one, for a path of this package."""
        ratio = self.to(figure, other) if is_ours(figure.contender) else None
        return None if ratio is None else 1 / ratio
