"""hypernetworks::rnn: a layer of RNN, or of HyperRNN where that scales rows; the mathematics is in rnn_cell.h."""

from .op import LayerOp

rnn: LayerOp = LayerOp(
    "rnn",
    blocks=1,
    states=("h",),
    weights=lambda s: {
        "weight_x": (s.H, s.I),
        "weight_h": (s.H, s.H),
        "bias": (s.H,),
        "gain": (s.H,),
        "shift": (s.H,),
    },
    optional=("bias",),
    norm=("gain", "shift"),
    saved=lambda s: {"saved_stats": (s.N, 2)},
)
