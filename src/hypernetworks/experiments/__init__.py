"""What all experiments share: configurations, commands, comparisons."""

from .experiment import Experiment
from .parts import Loaded, Recorded, Score

__all__ = ["Experiment", "Loaded", "Recorded", "Score"]
