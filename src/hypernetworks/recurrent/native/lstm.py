"""hypernetworks::lstm: a layer of LSTM or HyperLSTM; the mathematics is in lstm_cell.h."""

from .op import LayerOp

lstm: LayerOp = LayerOp(
    "lstm",
    blocks=4,
    states=("h", "c"),
    weights=lambda s: {
        "weight_x": (4 * s.H, s.I),
        "weight_h": (4 * s.H, s.H),
        "bias": (4 * s.H,),
        "gain": (4, s.H),
        "shift": (4, s.H),
        "cell_gain": (s.H,),
        "cell_shift": (s.H,),
    },
    optional=("bias",),
    norm=("gain", "shift", "cell_gain", "cell_shift"),
    saved=lambda s: {"saved_c": (s.N, s.H), "saved_stats": (s.N, 10)},
)
