"""What all experiments share: configurations, commands, comparisons."""

from .experiment import Experiment
from .origin import Origin
from .parts import Loaded, Recorded, Score

__all__ = ["Experiment", "Loaded", "Origin", "Recorded", "Score"]
