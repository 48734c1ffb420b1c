"""HyperRHN: a Recurrent Highway Network whose rows a hyper cell scales, at every depth of every time step.

    ĥ_t = LSTM([x_t; s^{t-1}])                                      once per time step: hyper.py
    d_a = D_a (P_a ĥ_t + p_a)                                       for R^l and b^l of each depth l, and for W; h and t apart
    h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x_t·1[l=1] + d_b + b_H^l)
    t_l = σ   (d_h ⊙ R_T^l s_{l-1} + d_x ⊙ W_T x_t·1[l=1] + d_b + b_T^l)
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

The published HyperRHN (Suarez, "Language Modeling with Recurrent Highway Hypernetworks", 2017) has a second RHN for a hyper
cell; this one has the layer-norm LSTM that all hyper networks of this package share.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .cell import detach
from .hyper import (
    Blocks,
    HyperRecurrentCell,
    HyperRecurrentNetwork,
    HyperWeights,
    hyper_step,
    products_on_h,
    row_scales,
)
from .native.rhn import rhn as native_rhn
from .rhn import RHNCell, rhn_step


class HyperRHNState(NamedTuple):
    """The state of a HyperRHN: h = s (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions."""

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


def hyper_rhn_step(
    inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One step from the projected input (W x_t, Ŵ_x x_t + b̂) and the state (s, ĥ, ĉ)."""
    wx, hyper_wx = inputs
    s, hyper_h, hyper_c = state
    wh, hyper_wh = products_on_h(s, weights)
    # ĥ_t = LSTM([x_t; s^{t-1}]);  z_a = P_a ĥ_t + p_a;  d_a = D_a z_a
    hyper_h, hyper_c, z = hyper_step(hyper_wx, hyper_wh, hyper_h, hyper_c, weights)
    # h_l, t_l and s_l for every depth l
    s, _ = rhn_step(wx, wh, s, weights.main, mask, row_scales(z, weights))
    return s, hyper_h, hyper_c


class HyperRHNCell(HyperRecurrentCell):
    """One step of a HyperRHN, `h, state = cell(x, state)`, state HyperRHNState(h, hyper_h, hyper_c).

    h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x·1[l=1] + d_b + b_H^l), t_l likewise with σ, and
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l) for l = 1 … depth, the d made by a layer-norm LSTM that reads [x; s].

    x is (B, input_size) or (input_size,). Arguments as for `HyperRHN`. Parameters: `main` (an RHNCell), `hyper.lstm`,
    and P, p and D of `hyper` for 2·depth blocks of h, 2 of x, 2·depth of b, in this order, h before t at each depth.
    Initialisation as for `RHNCell` and `HyperLSTMCell`.

    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    main: RHNCell
    state_type = HyperRHNState
    state_names = HyperRHNState._fields
    native = native_rhn
    own_settings = ("depth", "transform_bias")

    def __init__(
        self, input_size: int, hidden_size: int, *, depth: int = 5, transform_bias: float = -2.0, **settings: Any
    ) -> None:
        super().__init__(input_size, hidden_size, depth=depth, transform_bias=transform_bias, **settings)

    def make_main(
        self,
        embedding_size: int,
        *,
        layer_norm: bool,
        layer_norm_eps: float,
        depth: int,
        transform_bias: float,
        **settings: Any,
    ) -> tuple[RHNCell, Blocks]:
        """An RHN, which has no norm; h and t are scaled at each depth."""
        main = RHNCell(self.input_size, self.hidden_size, depth=depth, transform_bias=transform_bias, **settings)
        return main, Blocks(h=2 * depth, x=2, b=2 * depth)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
    ) -> Sequence[Tensor]:
        """One time step, see `hyper_rhn_step`."""
        return hyper_rhn_step(inputs, state, weights, mask)

    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> Sequence[Tensor]:
        """h_1, t_1, h_2, t_2 … of all depths."""
        return rhn_step(wx, wh, h, weights.main, None, row_scales(z, weights))[1]


class HyperRHN(HyperRecurrentNetwork[HyperRHNCell]):
    """A multi-layer Recurrent Highway Network whose rows a hyper cell scales; called as torch.nn.LSTM is called.

    In each layer, for l = 1 … depth within one time step: h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x·1[l=1] + d_b + b_H^l),
    t_l likewise with σ, s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l); a layer-norm LSTM that reads [x; s] makes all d once per
    time step.

        output, state = rnn(input, state)     # HyperRHNState(h, hyper_h, hyper_c), each (layers·directions, B, ·)

    Args:
        depth, transform_bias: as for `RHN` (5 and −2).
        layer_norm: normalise the hyper cell. The RHN itself has no norm.
        All other arguments as for `HyperLSTM`; recurrent_dropout acts on each h_l.

    Source: the scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to arXiv 1607.03474. Suarez, "Language
    Modeling with Recurrent Highway Hypernetworks" (2017) has an RHN for a hyper cell instead of an LSTM.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    cell_type = HyperRHNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        depth: int = 5,
        transform_bias: float = -2.0,
        **settings: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, depth=depth, transform_bias=transform_bias, **settings)
