"""Everything a run of an image network is told: what to read, what to train, how; and what its `config.json` says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from hypernetworks.errors import UsageError, check_count
from hypernetworks.experiments.config import from_json
from hypernetworks.processes import check_parts
from hypernetworks.training.schedule import Schedule
from hypernetworks.vision.data import ImageData
from hypernetworks.vision.models import ModelConfig

EXPERIMENT: Final = "vision"

DataSet = Literal["mnist", "cifar10"]

NETWORK_OF: Final = {"mnist": "conv", "cifar10": "wrn"}


@dataclass(frozen=True)
class VisionConfig:
    """The settings of a run. Contradictory or impossible settings fail when made, with a UsageError."""

    data: DataSet = "mnist"
    """The set of images (see `hypernetworks data list`)."""
    model: ModelConfig = field(default_factory=ModelConfig)
    schedule: Schedule = field(default_factory=Schedule)
    batch_size: int = 128
    """Images a step."""
    device: str = "auto"
    """Where to train: cpu, cuda, …; auto takes cuda where there is one."""

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size)
        check_parts(self.batch_size, self.schedule.accumulate)
        if self.data not in NETWORK_OF:
            raise UsageError(f"data should be {' or '.join(NETWORK_OF)}, got {self.data!r}")
        if self.model.network != NETWORK_OF[self.data]:
            raise UsageError(
                f"data {self.data} goes with network {NETWORK_OF[self.data]}, got network {self.model.network}"
            )


def run_config(config: VisionConfig, data: ImageData) -> dict[str, Any]:
    """What `config.json` is to hold: the settings, and the images that they met."""
    return {
        "experiment": EXPERIMENT,
        "settings": asdict(config),
        "images": {"source": data.source, "sha256": data.sha256, "sizes": data.sizes},
    }


def read_run_config(config: Mapping[str, Any], place: str) -> tuple[VisionConfig, str]:
    """The settings and the images' sha256 from a run's `config.json`; a UsageError names what is foreign in it."""
    if config.get("experiment") != EXPERIMENT:
        raise UsageError(
            f"{place}: not a run of hypernetworks vision (its config.json says {config.get('experiment')!r})"
        )
    match config:
        case {"settings": {"model": dict(), "schedule": dict()} as settings, "images": {"sha256": str(sha256)}}:
            return from_json(VisionConfig, settings, place), sha256
    raise UsageError(f"{place}: config.json lacks settings or images as this version writes them")
