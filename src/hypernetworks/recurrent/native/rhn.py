"""hypernetworks::rhn: a layer of RHN or HyperRHN; the mathematics is in rhn_cell.h.

The plain RHN has a pass of its own, which keeps h_l and t_l themselves and not what they are made of.
"""

from .layer import Shapes, Sizes
from .op import LayerOp


def _saved(s: Sizes) -> Shapes:
    saved: Shapes = {"saved_s": (s.N, (s.L - 1) * s.H), "saved_gates": (0, 2 * s.L * s.H), "saved_stats": (s.N, 0)}
    return saved if s.K else saved | {"saved_pre": (0, 2 * s.H), "saved_gates": (s.N, 2 * s.L * s.H)}


rhn: LayerOp = LayerOp(
    "rhn",
    blocks=2,
    deep=True,
    states=("h",),
    weights=lambda s: {"weight_x": (2 * s.H, s.I), "weight_h": (s.L, 2 * s.H, s.H), "bias": (s.L, 2 * s.H)},
    saved=_saved,
)
