"""Inspect hyper networks: the weights that they generate at each step, and how much these change."""

from .plots import plot_embeddings, plot_gates, plot_scales, plot_weight_change
from .relative import RelativeChange
from .scales import GeneratedScales, change_metric, scales_of, weight_change, weight_norm
from .trace import LayerTrace, Trace, trace

__all__ = [
    "GeneratedScales",
    "LayerTrace",
    "RelativeChange",
    "Trace",
    "change_metric",
    "plot_embeddings",
    "plot_gates",
    "plot_scales",
    "plot_weight_change",
    "scales_of",
    "trace",
    "weight_change",
    "weight_norm",
]
