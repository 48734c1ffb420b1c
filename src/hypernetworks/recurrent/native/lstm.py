"""hypernetworks::lstm: a layer of LSTM or HyperLSTM, whose mathematics is in lstm.cpp.

N rows of all time steps, B batch, I input, H hidden, K hyper hidden, Z embedding. Without the tensors of the hyper cell it is
an LSTM: K = Z = 0.
"""

from collections.abc import Mapping

from torch import Tensor

from .op import LayerOp, Shapes, Tensors

NORM = ("gain", "shift", "cell_gain", "cell_shift")
HYPER_NORM = tuple(f"hyper_{name}" for name in NORM)
HYPER = ("hyper_h0", "hyper_c0", "hyper_weight_x", "hyper_weight_h", "hyper_bias", "P", "p", "D")


class LSTMOp(LayerOp):
    """The operator; its inputs are the parameters of LSTMCell, and of HyperCell under names that begin with hyper."""

    name = "lstm"
    struct = "LSTMCall"
    states = ("h0", "c0", "hyper_h0", "hyper_c0")
    weights = ("weight_x", "weight_h", "bias", *NORM, *HYPER[2:5], *HYPER_NORM, *HYPER[5:])
    optional = ("bias", *NORM, *HYPER, *HYPER_NORM)
    together = (NORM, HYPER_NORM, HYPER)
    answer = ("output", "h", "c", "hyper_h", "hyper_c")
    saved = tuple(f"saved_{name}" for name in ("pre", "wh", "c", "hyper_h", "hyper_c", "z", "stats", "hyper_stats"))

    settings = ("eps",)

    def sizes(self, inputs: Tensors) -> dict[str, int]:
        """N, B, I, H, K and Z."""
        x, h0, hyper_h0, P = (_tensor(inputs, name) for name in ("x", "h0", "hyper_h0", "P"))
        assert x is not None
        assert h0 is not None
        hyper = {"hyper": 0, "embedding": 0}
        if hyper_h0 is not None and P is not None:
            hyper = {"hyper": hyper_h0.shape[-1], "embedding": P.shape[-2]}
            if 0 in hyper.values():
                raise ValueError(f"a hyper cell has a size and an embedding of at least 1, got {tuple(hyper.values())}")
            if inputs["bias"] is None:
                raise ValueError("the main cell of a HyperLSTM has a bias, got none")
        return {"rows": x.shape[0], "batch": h0.shape[0], "input": x.shape[-1], "hidden": h0.shape[-1]} | hyper

    def shapes(self, sizes: Mapping[str, int]) -> Shapes:
        """See lstm.h."""
        N, B, I, H, K, Z = (sizes[name] for name in ("rows", "batch", "input", "hidden", "hyper", "embedding"))
        hyper_rows = N if K else 0
        shapes: Shapes = {}
        for prefix, n in (("", H), ("hyper_", K)):
            shapes |= {f"{prefix}{name}": (4, n) for name in ("gain", "shift")}
            shapes |= {f"{prefix}{name}": (n,) for name in ("cell_gain", "cell_shift")}
            shapes |= {f"{prefix}{name}": (B, n) for name in ("h0", "c0", "h", "c")}
            shapes[f"{prefix}bias"] = (4 * n,)
        return shapes | {
            "x": (N, I),
            "mask": (N, H),
            "weight_x": (4 * H, I),
            "weight_h": (4 * H, H),
            "hyper_weight_x": (4 * K, I + H),
            "hyper_weight_h": (4 * K, K),
            "P": (12, Z, K),
            "p": (8, Z),
            "D": (12, H, Z),
            "output": (N, H),
            "saved_pre": (N, 4 * H + 4 * K),
            "saved_wh": (hyper_rows, 4 * H),
            "saved_c": (N, H),
            "saved_hyper_h": (hyper_rows, K),
            "saved_hyper_c": (hyper_rows, K),
            "saved_z": (hyper_rows, 12 * Z),
            "saved_stats": (N, 10),
            "saved_hyper_stats": (hyper_rows, 10),
        }


def _tensor(inputs: Tensors, name: str) -> Tensor | None:
    return inputs[name]


lstm = LSTMOp()
