"""HyperGRU: a gated recurrent unit whose rows a hyper cell scales at every time step.

    ĥ_t   = LSTM([x_t; h_{t-1}])                                      the hyper cell, of size K
    d_a^y = D_a^y (P_a^y ĥ_t + p_a^y)                                 for a of h, x, b and y of r, u, n
    r     = σ(LN_r(d_h^r ⊙ U_r h_{t-1} + d_x^r ⊙ W_r x_t + d_b^r + b_r))
    u     = σ(LN_u(d_h^u ⊙ U_u h_{t-1} + d_x^u ⊙ W_u x_t + d_b^u + b_u))
    n     = tanh(LN_n(d_x^n ⊙ W_n x_t + d_b^n + b_n + r ⊙ (d_h^n ⊙ U_n h_{t-1} + b_h)))
    h_t   = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

The scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to the GRU of torch.nn.GRU.

The step is in two parts: ĥ_t and d in hyper.py (`HyperRecurrentCell.advance`), the rest in gru.py (`gru_step`).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .cell import detach
from .gru import GRUCell
from .hyper import Blocks, HyperRecurrentCell, HyperRecurrentNetwork
from .native.gru import gru as native_gru
from .native.op import LayerOp


class HyperGRUState(NamedTuple):
    """The state of a HyperGRU: h (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions.

    Example:
        >>> output, state = hn.HyperGRU(10, 20, hyper_size=8)(torch.randn(5, 3, 10))
        >>> state.hyper_h.shape
        torch.Size([1, 3, 8])
        >>> state = state.detach()  # the same numbers, without their gradients
    """

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


class HyperGRUCell(HyperRecurrentCell):
    """One step of a HyperGRU, `h, state = cell(x, state)`, state HyperGRUState(h, hyper_h, hyper_c).

    A layer-normalised LSTM that reads [x_t; h_{t-1}] gives the d of each gate:

        r, u = σ(LN(d_h ⊙ U h_{t-1} + d_x ⊙ W x_t + d_b + b))
        n = tanh(LN_n(d_x ⊙ W_n x_t + d_b + b_n + r ⊙ (d_h ⊙ U_n h_{t-1} + b_h)))
        h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

    x is (B, input_size) or (input_size,). The arguments are those of `HyperGRU`. Parameters: `main` (a GRUCell),
    `hyper.lstm`, and P, p and D of `hyper` for 3 blocks of h, 3 of x, 3 of b. Initialisation as for `HyperLSTMCell`, biases 0.

    Example:
        >>> cell = hn.HyperGRUCell(10, 20, hyper_size=8)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    main: GRUCell
    state_type: ClassVar[Callable[..., Any] | None] = HyperGRUState
    state_names: ClassVar[tuple[str, ...]] = HyperGRUState._fields
    native: ClassVar[LayerOp | None] = native_gru

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
        main = GRUCell(
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
            Blocks(h=3, x=3, b=3),
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            init=init,
            device=device,
            dtype=dtype,
        )


class HyperGRU(HyperRecurrentNetwork[HyperGRUCell]):
    """A multi-layer GRU whose rows a hyper cell scales at every time step; called like torch.nn.LSTM.

    In each layer a layer-normalised LSTM that reads [x_t; h_{t-1}] gives the d of each gate:

        r, u = σ(LN(d_h ⊙ U h_{t-1} + d_x ⊙ W x_t + d_b + b))
        n = tanh(LN_n(d_x ⊙ W_n x_t + d_b + b_n + r ⊙ (d_h ⊙ U_n h_{t-1} + b_h)))
        h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

    It is called as follows:

        output, state = rnn(input)            # input (T, B, I), (T, I) or packed
        output, state = rnn(input, state)     # HyperGRUState, (layers·directions, B, ·)

    Arguments that are not listed are those of `HyperLSTM`.

    Args:
        recurrent_dropout: probability of dropping a value of n, drawn again at each step.

    Example:
        >>> rnn = hn.HyperGRU(10, 20, hyper_size=8)
        >>> output, state = rnn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: the scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to torch.nn.GRU's equations.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = HyperGRUCell

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
