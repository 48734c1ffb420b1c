"""HyperLSTM: an LSTM whose weights another, smaller LSTM changes at every time step, by scaling their rows.

    ĥ_t   = LSTM([x_t; h_{t-1}])                                      the hyper cell, layer-normalised, of size K
    z_a^y = P_a^y ĥ_t + p_a^y                                         for a of h, x, b and the gates y of i, f, g, o
    d_a^y = D_a^y z_a^y                                               (no p for a = b)
    pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
    c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
    h_t   = σ(o) ⊙ tanh(LN_c(c_t))

Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, section 3.2 and appendix A.2.2. z is computed from the new ĥ_t, as in the
paper's text and its first author's code (the printed equation has ĥ_{t-1}).

The step is in two parts: ĥ_t, z and d in hyper.py (`HyperRecurrentCell.advance`), pre, c_t and h_t in lstm.py (`lstm_step`).

B batch, T time, I input, H hidden, K hyper hidden, Z embedding.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .cell import detach
from .hyper import Blocks, HyperRecurrentCell, HyperRecurrentNetwork
from .lstm import LSTMCell
from .native.lstm import lstm as native_lstm
from .native.op import LayerOp


class HyperLSTMState(NamedTuple):
    """The state of a HyperLSTM: h and c (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions.

    Example:
        >>> output, state = hn.HyperLSTM(10, 20, hyper_size=8)(torch.randn(5, 3, 10))
        >>> state.hyper_h.shape
        torch.Size([1, 3, 8])
        >>> state = state.detach()  # the same numbers, without their gradients
    """

    h: Tensor
    c: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


class HyperLSTMCell(HyperRecurrentCell):
    """One step of a HyperLSTM, `h, state = cell(x, state)`.

    A layer-normalised LSTM of size hyper_size reads [x_t; h_{t-1}]. Its new output ĥ_t gives, for each gate y and each a of
    h, x, b, z_a^y = P_a^y ĥ_t + p_a^y and d_a^y = D_a^y z_a^y, which scale the rows of the main LSTM; c_t and h_t are those of
    `LSTMCell`:

        pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)

    x is (B, input_size) or (input_size,); state is HyperLSTMState(h, c, hyper_h, hyper_c), zeros if left out.

    The arguments are those of `HyperLSTM`. Parameters: `main` (an LSTMCell), `hyper.lstm` (another), `hyper.P` (12, Z, K),
    `hyper.p` (8, Z) and `hyper.D` (12, H, Z), blocks in the order h, x, b, and in each the gates i, f, g, o.

    Initialisation: W orthogonal for each gate; P ~ N(0, 0.01²), p = 1, D = 0.1/Z for h and x, so that every d starts near
    0.1, and 0 for b; forget gates 1. init="paper" sets P = 0 for h and x, as printed; D then keeps rank 1.

    Example:
        >>> cell = hn.HyperLSTMCell(10, 20, hyper_size=8)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Source: HyperNetworks, arXiv 1609.09106, appendices A.2.2 and A.2.3.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    main: LSTMCell
    state_type: ClassVar[Callable[..., Any] | None] = HyperLSTMState
    state_names: ClassVar[tuple[str, ...]] = HyperLSTMState._fields
    native: ClassVar[LayerOp | None] = native_lstm

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
        init: str = "default",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        main = LSTMCell(
            input_size,
            hidden_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
            device=device,
            dtype=dtype,
        )
        super().__init__(
            main,
            Blocks(h=4, x=4, b=4),
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            init=init,
            device=device,
            dtype=dtype,
        )


class HyperLSTM(HyperRecurrentNetwork[HyperLSTMCell]):
    """A multi-layer HyperLSTM, called like torch.nn.LSTM.

    In each layer a layer-normalised LSTM of size K = hyper_size reads [x_t; h_{t-1}] and computes, at every time step, the
    scales d_a^y of the main LSTM's rows, for a of h, x, b and the gates y = i, f, g, o:

        d_a^y = D_a^y (P_a^y ĥ_t + p_a^y)
        pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
        c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
        h_t = σ(o) ⊙ tanh(LN_c(c_t))

    It is called as follows:

        output, state = rnn(input)            # input (T, B, I), (T, I) or packed
        output, state = rnn(input, state)     # HyperLSTMState, (layers·directions, B, ·)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        hyper_size: K, the size of the hyper cell; the paper has 128 for Penn Treebank at H = 1000.
        hyper_embedding_size: Z, the size of each embedding z; the paper has 4, 16 and 64.
        layer_norm: normalise the main network and the hyper cell, or neither.
        layer_norm_eps: ε of all norms (the first author's code has 1e-3).
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer before the next layer, while training.
        recurrent_dropout: probability of dropping a value of the main LSTM's tanh g, drawn again at each step.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        init: "default", or "paper" for P = 0 as printed there, see `HyperLSTMCell`.
        device, dtype: of the parameters.

    Example:
        >>> rnn = hn.HyperLSTM(10, 20, hyper_size=8)
        >>> output, state = rnn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: HyperNetworks, arXiv 1609.09106, section 3.2 and appendix A.2.2.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = HyperLSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        bidirectional: bool = False,
        init: str = "default",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
            init=init,
            device=device,
            dtype=dtype,
        )
