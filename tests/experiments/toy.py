"""A third experiment, as small as one can be: a straight line is fitted to points."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from tyro.conf import OmitArgPrefixes

from hypernetworks.experiments import Experiment
from hypernetworks.experiments.commands import EvaluateCommand, TrainCommand, preset_help
from hypernetworks.experiments.compare_command import CompareCommand
from hypernetworks.processes import distributed, parts
from hypernetworks.training.epochs import Epochs
from hypernetworks.training.loop import Task
from hypernetworks.training.schedule import Schedule


@dataclass(frozen=True)
class LineConfig:
    """The settings."""

    slope: float = 2.0
    """The slope of the line that the points are on."""
    bias: bool = True
    """Whether the model has a bias."""
    schedule: Schedule = field(
        default_factory=lambda: Schedule(steps=40, warmup=0, learning_rate=0.5, evaluate_every=20)
    )
    batch_size: int = 4
    device: str = "cpu"


PRESETS = {"default": LineConfig(), "steep": LineConfig(slope=5.0)}


@dataclass(frozen=True)
class Points:
    """y = slope x + 1 at 12 places, of which the last 4 validate."""

    name: str
    x: Tensor
    y: Tensor
    source: str = "arithmetic"

    @property
    def sha256(self) -> str:
        return self.name.rjust(64, "0")

    @property
    def sizes(self) -> dict[str, int]:
        return {"train": 8, "validation": 4}


class LineTask(Task[nn.Linear]):
    unit = "points"

    def __init__(self, model: nn.Linear, config: LineConfig, data: Points) -> None:
        self.model, self.network, self.data = model, distributed(model), data
        self.parts = parts(config.batch_size, config.schedule.accumulate)
        self.epochs = Epochs(8, config.batch_size, config.schedule.seed)

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        chosen = self.epochs.batch(step)[part]
        return (self.network(self.data.x[chosen]) - self.data.y[chosen]).square().mean(), len(chosen)

    def validate(self) -> Mapping[str, float]:
        with torch.no_grad():
            return {"validation_loss": (self.model(self.data.x[8:]) - self.data.y[8:]).square().mean().item()}

    def fields(self, loss: float) -> Mapping[str, str]:
        return {"loss": f"{loss:.4f}"}

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


class LineExperiment(Experiment[LineConfig, Points, nn.Linear]):
    name = "line"
    config_type = LineConfig
    task_type = LineTask
    presets = PRESETS

    def data_name(self, config: LineConfig) -> str:
        return f"slope {config.slope:g}"

    def load_data(self, config: LineConfig, data_dir: Path | None) -> Points:
        x = torch.linspace(-1, 1, 12).unsqueeze(1)
        return Points(self.data_name(config), x, config.slope * x + 1)

    def make_model(self, config: LineConfig, record: Mapping[str, Any]) -> nn.Linear:
        return nn.Linear(1, 1, bias=config.bias)

    def evaluate(self, model: nn.Linear, record: Mapping[str, Any], data: Points, split: str) -> str:
        return f"slope {model.weight.item():.2f}"


LINE = LineExperiment()


@dataclass(frozen=True)
class Train(TrainCommand):
    """Fit a line."""

    experiment = LINE
    preset: Annotated[str, preset_help({"default": "a slope of 2", "steep": "a slope of 5"})] = "default"
    settings: Annotated[LineConfig, OmitArgPrefixes] = field(default_factory=LineConfig)


@dataclass(frozen=True)
class Evaluate(EvaluateCommand):
    """Print the slope."""

    experiment = LINE


@dataclass(frozen=True)
class Compare(CompareCommand):
    """Fit with and without a bias."""

    experiment = LINE
    chosen = {"bias": "it trains both"}  # noqa: RUF012
    settings: Annotated[LineConfig, OmitArgPrefixes] = field(default_factory=LineConfig)

    def variants(self, settings: LineConfig, data: Points) -> Mapping[str, LineConfig]:
        return {"with-bias": replace(settings, bias=True), "without": replace(settings, bias=False)}
