"""What an experiment is made of: the protocols of configuration and data, and the results of reading a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from torch import nn

from hypernetworks.training.schedule import Schedule

__all__ = ["Config", "Configuration", "Data", "DataSet", "Loaded", "Model", "Recorded", "Score"]


class Configuration(Protocol):
    """The settings of a run: a frozen dataclass whose fields all have defaults."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def schedule(self) -> Schedule:
        """Optimiser, learning rate, number of steps, seed."""
        ...

    @property
    def device(self) -> str:
        """The name of the device to train on."""
        ...


class DataSet(Protocol):
    """The data of a run, with one attribute for each split: train, validation, test."""

    @property
    def name(self) -> str:
        """The name or path that it was loaded by."""
        ...

    @property
    def source(self) -> str:
        """The files that it was read from."""
        ...

    @property
    def sha256(self) -> str:
        """The checksum of its content."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of examples in each split."""
        ...


Config = TypeVar("Config", bound=Configuration)
Data = TypeVar("Data", bound=DataSet)
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Score:
    """The validation figure that comparisons plot and tables show."""

    name: str = "validation_loss"
    """Its key in `metrics.jsonl`."""
    label: str = "loss (nats)"
    """The axis of a plot."""
    digits: int = 4
    """Decimal places in a table."""
    follows_loss: bool = True
    """Whether this figure is the validation loss times a factor, so that the training loss can be drawn with it."""


class Recorded(NamedTuple, Generic[Config]):
    """What `config.json` of a run says."""

    config: Config
    record: dict[str, Any]
    """The data that the run read, as `Experiment.record` described it."""


class Loaded(NamedTuple, Generic[Config, Model]):
    """A trained run."""

    model: Model
    """The best model, in evaluation mode, on the CPU."""
    config: Config
    record: dict[str, Any]
    """The data that the run read, as `Experiment.record` described it."""
