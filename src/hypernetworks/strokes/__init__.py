"""The strokes experiment: networks that draw, point by point."""

from .config import StrokesConfig
from .data import StrokeData, load_strokes
from .drawings import Drawings
from .evaluate import StrokeScore
from .experiment import STROKES, load_run
from .generate import Drawn, Sampling, draw
from .mixture import Mixture
from .model import StrokeModel, StrokeModelConfig
from .pictures import Canvas, grid
from .presets import PRESETS

__all__ = [
    "PRESETS",
    "STROKES",
    "Canvas",
    "Drawings",
    "Drawn",
    "Mixture",
    "Sampling",
    "StrokeData",
    "StrokeModel",
    "StrokeModelConfig",
    "StrokeScore",
    "StrokesConfig",
    "draw",
    "grid",
    "load_run",
    "load_strokes",
]
