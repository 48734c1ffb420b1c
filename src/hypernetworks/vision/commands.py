"""The commands of `hypernetworks vision`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import OmitArgPrefixes

from hypernetworks.experiments.commands import EvaluateCommand, TrainCommand, preset_help
from hypernetworks.experiments.compare_command import CompareCommand
from hypernetworks.experiments.config import apply_changes
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.data import ImageData
from hypernetworks.vision.experiment import VISION, VisionExperiment
from hypernetworks.vision.presets import PRESETS, PRESETS_IN_WORDS


@dataclass(frozen=True)
class Train(TrainCommand):
    """Train an image network with learned or generated kernels; the run folder holds the best model, metrics and a curve."""

    experiment: ClassVar[VisionExperiment] = VISION
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "mnist"
    settings: Annotated[VisionConfig, OmitArgPrefixes] = field(default_factory=VisionConfig)
    out: Path = Path("runs/vision")


@dataclass(frozen=True)
class Evaluate(EvaluateCommand):
    """Score the best model of a run on a split of its images."""

    experiment: ClassVar[VisionExperiment] = VISION
    split: str = "test"


@dataclass(frozen=True)
class Compare(CompareCommand):
    """Train plain and generated kernels on the same images, and compare what each reaches and costs.

    A flag that differs from the preset's setting for plain kernels changes both. The comparison chooses --kernels and --seed
    for each model: give --seeds.
    """

    experiment: ClassVar[VisionExperiment] = VISION
    chosen: ClassVar[Mapping[str, str]] = {"model.kernels": "it trains both"}
    preset: Annotated[str, preset_help(PRESETS_IN_WORDS)] = "mnist"
    settings: Annotated[VisionConfig, OmitArgPrefixes] = field(default_factory=VisionConfig)
    out: Path = Path("runs/vision-compare")

    def variants(self, settings: VisionConfig, data: ImageData) -> Mapping[str, VisionConfig]:
        """Plain and generated kernels, changed by the same flags."""
        presets = PRESETS[self.preset]
        return {kernels: apply_changes(presets["plain"], settings, config) for kernels, config in presets.items()}
