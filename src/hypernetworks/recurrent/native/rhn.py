"""hypernetworks::rhn: a layer of the Recurrent Highway Network, whose mathematics is in rhn.cpp.

N rows of all time steps, B batch, I input, H hidden, L depth.
"""

from collections.abc import Mapping

from .op import LayerOp, Shapes, Tensors


class RHNOp(LayerOp):
    """The operator; its inputs are the parameters of RHNCell."""

    name = "rhn"
    struct = "RHNCall"
    states = ("s0",)
    weights = ("weight_x", "weight_h", "bias")
    optional = ()
    answer = ("output", "s")
    saved = ("saved_gates", "saved_s")

    def sizes(self, inputs: Tensors) -> dict[str, int]:
        """N, B, I, H and L."""
        x, s0, weight_h = (inputs[name] for name in ("x", "s0", "weight_h"))
        assert x is not None
        assert s0 is not None
        assert weight_h is not None
        return {
            "rows": x.shape[0],
            "batch": s0.shape[0],
            "input": x.shape[-1],
            "hidden": s0.shape[-1],
            "depth": weight_h.shape[0],
        }

    def shapes(self, sizes: Mapping[str, int]) -> Shapes:
        """See rhn.h."""
        N, B, I, H, L = (sizes[name] for name in ("rows", "batch", "input", "hidden", "depth"))
        return {
            "x": (N, I),
            "mask": (N, L * H),
            "s0": (B, H),
            "weight_x": (2 * H, I),
            "weight_h": (L, 2 * H, H),
            "bias": (L, 2 * H),
            "output": (N, H),
            "s": (B, H),
            "saved_gates": (N, L, 2 * H),
            "saved_s": (N, L, H),
        }


rhn = RHNOp()
