"""What was measured: one measurement for each implementation, network, size and quantity."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hypernetworks.bench.implementations import baseline_name, is_ours
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.text.model import Network


@dataclass(frozen=True)
class Measurement:
    """Seconds of each round, or, for memory, bytes once; none where it was refused."""

    quantity: Quantity
    size: Size
    network: Network
    implementation: str
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
    """The measurements of one network, size and quantity, which were measured in turn: what ratios are made of."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self.measurements = list(measurements)
        self._named = {measurement.implementation: measurement for measurement in measurements}

    def to(self, measurement: Measurement, other: str, *, busy: bool = False) -> float | None:
        """The measurement over that of another implementation, or of its cell for a cell; None where one of them is missing."""
        against = self._named.get(baseline_name(measurement.implementation, other))
        if against is None:
            return None
        mine, theirs = (measurement.least_busy, against.least_busy) if busy else (measurement.least, against.least)
        return mine / theirs if mine and theirs else None

    def of(self, measurement: Measurement, other: str) -> float | None:
        """The measurement of another implementation over this one, for a path of this package."""
        ratio = self.to(measurement, other) if is_ours(measurement.implementation) else None
        return None if ratio is None else 1 / ratio
