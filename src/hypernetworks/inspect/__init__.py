"""Look into hyper networks: what weights they made at each step, and how much these changed."""

from .scales import Scales, change_metric, scales_of, weight_change

__all__ = ["Scales", "change_metric", "scales_of", "weight_change"]
