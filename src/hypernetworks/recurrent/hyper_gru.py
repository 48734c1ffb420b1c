"""HyperGRU: a gated recurrent unit whose rows a hyper cell scales at every time step.

    ĥ_t   = LSTM([x_t; h_{t-1}])                                      the hyper cell: hyper.py
    d_a^y = D_a^y (P_a^y ĥ_t + p_a^y)                                 for a of h, x, b and y of r, u, n
    r     = σ(LN_r(d_h^r ⊙ U_r h_{t-1} + d_x^r ⊙ W_r x_t + d_b^r + b_r))
    u     = σ(LN_u(d_h^u ⊙ U_u h_{t-1} + d_x^u ⊙ W_u x_t + d_b^u + b_u))
    n     = tanh(LN_n(d_x^n ⊙ W_n x_t + d_b^n + b_n + r ⊙ (d_h^n ⊙ U_n h_{t-1} + b_h)))
    h_t   = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

The scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to the GRU of torch.nn.GRU.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .cell import detach
from .gru import GRUCell, gru_gates, gru_step
from .hyper import (
    Blocks,
    HyperRecurrentCell,
    HyperRecurrentNetwork,
    HyperWeights,
    hyper_step,
    products_on_h,
    row_scales,
)
from .native.gru import gru as native_gru


class HyperGRUState(NamedTuple):
    """The state of a HyperGRU: h (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions."""

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


def hyper_gru_step(
    inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One step from the projected input (W x_t, Ŵ_x x_t + b̂) and the state (h, ĥ, ĉ)."""
    wx, hyper_wx = inputs
    h, hyper_h, hyper_c = state
    wh, hyper_wh = products_on_h(h, weights)
    # ĥ_t = LSTM([x_t; h_{t-1}]);  z_a^y = P_a^y ĥ_t + p_a^y;  d_a^y = D_a^y z_a^y
    hyper_h, hyper_c, z = hyper_step(hyper_wx, hyper_wh, hyper_h, hyper_c, weights)
    # r, u, n and h_t
    h = gru_step(wx, wh, h, weights.main, mask, row_scales(z, weights))
    return h, hyper_h, hyper_c


class HyperGRUCell(HyperRecurrentCell):
    """One step of a HyperGRU, `h, state = cell(x, state)`, state HyperGRUState(h, hyper_h, hyper_c).

    r, u = σ(LN(d_h ⊙ U h + d_x ⊙ W x + d_b + b)), n = tanh(LN_n(d_x ⊙ W_n x + d_b + b_n + r ⊙ (d_h ⊙ U_n h + b_h))),
    h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}, the d made by a layer-norm LSTM that reads [x; h].

    x is (B, input_size) or (input_size,). Arguments as for `HyperLSTM`. Parameters: `main.weight_x` (3H, I),
    `main.weight_h` (3H, H), `main.bias` (3H,), `main.bias_h` (H,), gates r, u, n; `hyper.lstm`; P, p and D of `hyper` for
    3 blocks of h, 3 of x, 3 of b. Initialisation as for `HyperLSTMCell`, biases zero.

    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    main: GRUCell
    state_type = HyperGRUState
    state_names = HyperGRUState._fields
    native = native_gru

    def make_main(self, embedding_size: int, **settings: Any) -> tuple[GRUCell, Blocks]:
        """A GRU; each of its three gates is scaled."""
        return GRUCell(self.input_size, self.hidden_size, **settings), Blocks(h=3, x=3, b=3)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
    ) -> Sequence[Tensor]:
        """One time step, see `hyper_gru_step`."""
        return hyper_gru_step(inputs, state, weights, mask)

    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> Sequence[Tensor]:
        """r, u and n."""
        return gru_gates(wx, wh, weights.main, row_scales(z, weights))


class HyperGRU(HyperRecurrentNetwork[HyperGRUCell]):
    """A multi-layer GRU whose rows a hyper cell scales at every time step; called as torch.nn.LSTM is called.

    r, u = σ(LN(d_h ⊙ U h + d_x ⊙ W x + d_b + b)), n = tanh(LN_n(d_x ⊙ W_n x + d_b + b_n + r ⊙ (d_h ⊙ U_n h + b_h))),
    h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}; a layer-norm LSTM that reads [x; h] makes the d.

        output, state = rnn(input, state)     # HyperGRUState(h, hyper_h, hyper_c), each (layers·directions, B, ·)

    Args:
        All as for `HyperLSTM`; recurrent_dropout acts on n.

    Source: the scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to torch.nn.GRU's equations.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    cell_type = HyperGRUCell
