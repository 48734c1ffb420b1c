"""The paper's static experiments: image networks whose kernels are learned, or made by a hypernetwork."""

from .config import VisionConfig
from .data import ImageData, load_images
from .evaluate import Score
from .models import ModelConfig, count_parameters, make_model
from .presets import PRESETS
from .train import load_run

__all__ = [
    "PRESETS",
    "ImageData",
    "ModelConfig",
    "Score",
    "VisionConfig",
    "count_parameters",
    "load_images",
    "load_run",
    "make_model",
]
