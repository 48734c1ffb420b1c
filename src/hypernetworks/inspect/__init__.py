"""Look into hyper networks: what weights they made at each step, and how much these changed."""

from .scales import Scales, scales_of, weight_change
from .trace import LayerTrace, Trace, trace

__all__ = ["LayerTrace", "Scales", "Trace", "scales_of", "trace", "weight_change"]
