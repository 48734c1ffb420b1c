"""HyperLSTM: an LSTM whose weights another, smaller LSTM makes anew at every time step, by scaling their rows.

    ĥ_t   = LSTM([x_t; h_{t-1}])                                      the hyper cell, layer-normalised, of size K: hyper.py
    z_a^y = P_a^y ĥ_t + p_a^y                                         for a of h, x, b and the gates y of i, f, g, o
    d_a^y = D_a^y z_a^y                                               (no p for a = b)
    pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
    c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
    h_t   = σ(o) ⊙ tanh(LN_c(c_t))

Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, section 3.2 and appendix A.2.2. The new ĥ_t makes z, as the paper's text
and its first author's code have it (the printed equation says ĥ_{t-1}).

B batch, T time, I input, H hidden, K hyper hidden, Z embedding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .cell import NativeParameters, detach
from .hyper import (
    Blocks,
    HyperRecurrentCell,
    HyperRecurrentNetwork,
    HyperWeights,
    hyper_step,
    products_on_h,
    row_scales,
)
from .lstm import LSTMCell, lstm_gates, lstm_step
from .native.lstm import lstm as native_lstm


class HyperLSTMState(NamedTuple):
    """The state of a HyperLSTM: h and c (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions."""

    h: Tensor
    c: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


def hyper_lstm_step(
    inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step from the projected input (W_x x_t, Ŵ_x x_t + b̂) and the state (h, c, ĥ, ĉ)."""
    wx, hyper_wx = inputs
    h, c, hyper_h, hyper_c = state
    wh, hyper_wh = products_on_h(h, weights)
    # ĥ_t = LSTM([x_t; h_{t-1}]);  z_a^y = P_a^y ĥ_t + p_a^y;  d_a^y = D_a^y z_a^y
    hyper_h, hyper_c, z = hyper_step(hyper_wx, hyper_wh, hyper_h, hyper_c, weights)
    # pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y);  c_t;  h_t
    h, c = lstm_step(wx, wh, c, weights.main, mask, row_scales(z, weights))
    return h, c, hyper_h, hyper_c


class HyperLSTMCell(HyperRecurrentCell):
    """One step of a HyperLSTM, `h, state = cell(x, state)`.

    A layer-normalised LSTM of size hyper_size reads [x_t; h_{t-1}]; from its new output ĥ_t come, for each gate y and each a
    of h, x, b, z_a^y = P_a^y ĥ_t + p_a^y and d_a^y = D_a^y z_a^y, and these scale the rows of the main LSTM:
    pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y), then c_t and h_t as in `LSTMCell`.

    x is (B, input_size) or (input_size,); state is HyperLSTMState(h, c, hyper_h, hyper_c), zeros when left out.

    Arguments as for `HyperLSTM`. Parameters: `main` (an LSTMCell), `hyper.lstm` (another), `hyper.P` (12, Z, K),
    `hyper.p` (8, Z) and `hyper.D` (12, H, Z), blocks in the order h, x, b, and in each the gates i, f, g, o.

    Initialisation: W orthogonal for each gate; P ~ N(0, 0.01²), p = 1, D = 0.1/Z for h and x, so that every d starts near
    0.1, and 0 for b; forget gates 1. init="paper" sets P = 0 for h and x, as printed, which keeps D at rank 1 for ever.

    Source: HyperNetworks, arXiv 1609.09106, appendices A.2.2 and A.2.3.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    main: LSTMCell
    state_type = HyperLSTMState
    state_names = HyperLSTMState._fields
    native = native_lstm

    def native_parameters(self) -> NativeParameters | None:
        """The parameters as hypernetworks::lstm names them, the hyper cell's with `hyper_` before, and the ε of all norms."""
        generator = self.hyper
        main = self.main.native_parameters()
        hyper = generator.lstm.native_parameters()
        if main is None or hyper is None or main[1] != hyper[1]:
            return None
        weights, settings = main
        of_hyper = {f"hyper_{name}": tensor for name, tensor in hyper[0].items()}
        return weights | of_hyper | {name: getattr(generator, name) for name in ("P", "p", "D")}, settings

    def make_main(self, embedding_size: int, **settings: Any) -> tuple[LSTMCell, Blocks]:
        """An LSTM; each of its four gates is scaled."""
        return LSTMCell(self.input_size, self.hidden_size, **settings), Blocks(h=4, x=4, b=4)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
    ) -> Sequence[Tensor]:
        """One time step, see `hyper_lstm_step`."""
        return hyper_lstm_step(inputs, state, weights, mask)

    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> Sequence[Tensor]:
        """σ(i), σ(f), tanh g and σ(o)."""
        return lstm_gates(wx, wh, weights.main, row_scales(z, weights))


class HyperLSTM(HyperRecurrentNetwork[HyperLSTMCell]):
    """A multi-layer HyperLSTM, called as torch.nn.LSTM is called.

    In each layer a layer-normalised LSTM of size K = hyper_size reads [x_t; h_{t-1}] and makes, at every time step, the scales
    d_a^y = D_a^y (P_a^y ĥ_t + p_a^y) of the main LSTM's rows, for a of h, x, b and the gates y = i, f, g, o:
    pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y),
    c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g), h_t = σ(o) ⊙ tanh(LN_c(c_t)).

        output, state = rnn(input)            # input (T, B, I), (B, T, I) with batch_first, (T, I), or packed
        output, state = rnn(input, state)     # HyperLSTMState(h, c, hyper_h, hyper_c), each (layers·directions, B, ·)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        hyper_size: K, the size of the hyper cell; 128 is the paper's for Penn Treebank at H = 1000.
        hyper_embedding_size: Z, the size of each embedding z; the paper has 4, 16 and 64.
        layer_norm: normalise main and hyper cell; without it neither is.
        layer_norm_eps: ε of all norms (the first author's code has 1e-3).
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer on its way to the next, while training.
        recurrent_dropout: probability of dropping a value of tanh g of the main LSTM, fresh for each step.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        init: "default", or "paper" for P = 0 as printed there, see `HyperLSTMCell`.
        device, dtype: of the parameters.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2 and appendix A.2.2.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    cell_type = HyperLSTMCell
