"""What all experiments share: configurations, commands, comparisons."""

from .experiment import Experiment, Loaded, Recorded, Score

__all__ = ["Experiment", "Loaded", "Recorded", "Score"]
