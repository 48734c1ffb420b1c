"""The measurements: one for each implementation, network, size and quantity."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hypernetworks.bench.implementations import counterpart, is_ours
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.experiments.networks import NetworkName


@dataclass(frozen=True)
class Measurement:
    """Seconds of each round or, for memory, bytes, once. Empty if the implementation was refused."""

    quantity: Quantity
    size: Size
    network: NetworkName
    implementation: str
    values: tuple[float, ...] = ()
    busy: tuple[float, ...] = ()
    """The same while another process kept one core busy."""
    difference: float | None = None
    """The largest difference from the reference path, see parity.py."""
    refusal: str | None = None
    """Why there are no values."""
    flops: int | None = None
    """Floating-point operations of a run, if the implementation reports them."""

    @property
    def least(self) -> float | None:
        """The smallest value."""
        return min(self.values, default=None)

    @property
    def least_busy(self) -> float | None:
        """The smallest value while a core was busy."""
        return min(self.busy, default=None)

    def as_json(self) -> dict[str, Any]:
        """Every field, with minimum and median."""
        numbers = {"minimum": self.least, "median": median(self.values) if self.values else None}
        return asdict(self) | {"size": self.size._asdict()} | numbers


class Group:
    """The measurements of one network, size and quantity. They were taken in turn, so their ratios are meaningful."""

    def __init__(self, measurements: Sequence[Measurement]) -> None:
        self.measurements: list[Measurement] = list(measurements)
        self._named = {measurement.implementation: measurement for measurement in measurements}

    def to(self, measurement: Measurement, other: str, *, busy: bool = False) -> float | None:
        """A measurement divided by that of another implementation, a cell's by a cell's; None if either is missing."""
        against = self._named.get(counterpart(measurement.implementation, other))
        if against is None:
            return None
        mine, theirs = (measurement.least_busy, against.least_busy) if busy else (measurement.least, against.least)
        return mine / theirs if mine and theirs else None

    def of(self, measurement: Measurement, other: str) -> float | None:
        """The measurement of another implementation divided by this one; None unless this is a path of this package."""
        ratio = self.to(measurement, other) if is_ours(measurement.implementation) else None
        return None if ratio is None else 1 / ratio
