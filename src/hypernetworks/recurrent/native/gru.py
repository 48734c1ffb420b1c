"""hypernetworks::gru: a layer of GRU or HyperGRU; the mathematics is in gru_cell.h."""

from .op import LayerOp

gru: LayerOp = LayerOp(
    "gru",
    blocks=3,
    blocks_apart=1,
    states=("h",),
    weights=lambda s: {
        "weight_x": (3 * s.H, s.I),
        "weight_h": (3 * s.H, s.H),
        "bias": (3 * s.H,),
        "bias_h": (s.H,),
        "gain": (3, s.H),
        "shift": (3, s.H),
    },
    optional=("bias", "bias_h"),
    norm=("gain", "shift"),
    saved=lambda s: {"saved_stats": (s.N, 6)},
)
