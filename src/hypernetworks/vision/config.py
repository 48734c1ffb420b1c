"""The settings of a run of the vision experiment."""

from dataclasses import dataclass, field
from typing import Final, Literal

from hypernetworks.errors import UsageError, check_count
from hypernetworks.processes import check_parts
from hypernetworks.training.schedule import Schedule
from hypernetworks.vision.models import ImageModelConfig, NetworkKind

__all__ = ["DataSet", "VisionConfig"]

DataSet = Literal["mnist", "cifar10"]

NETWORK_OF: Final[dict[str, NetworkKind]] = {"mnist": "conv", "cifar10": "wrn"}
"""The network that each data set is classified with."""


@dataclass(frozen=True)
class VisionConfig:
    """The settings of a run.

    Example:
        >>> from hypernetworks.vision import VisionConfig
        >>> VisionConfig(data="cifar10").network
        'wrn'

    Raises:
        UsageError: a setting is invalid, or two settings contradict each other.
    """

    data: DataSet = "mnist"
    """The data set (see `hypernetworks data list`). mnist is classified by a small convolutional net, cifar10 by a wide
    residual net."""
    model: ImageModelConfig = field(default_factory=ImageModelConfig)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 128
    """Images per step."""
    device: str = "auto"
    """Where to train: cpu, cuda, …; auto uses cuda if available."""

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_parts(self.batch_size, self.schedule.accumulate)
        if self.data not in NETWORK_OF:
            raise UsageError(f"data should be {' or '.join(NETWORK_OF)}, got {self.data!r}")

    @property
    def network(self) -> NetworkKind:
        """The network that the data are classified with."""
        return NETWORK_OF[self.data]
