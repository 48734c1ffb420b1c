"""HyperRHN: a Recurrent Highway Network whose rows a hyper cell scales, at every depth of every time step.

    ĥ_t = LSTM([x_t; s^{t-1}])                                      the hyper cell, once per time step
    d_a = D_a (P_a ĥ_t + p_a)                                       for R^l and b^l of each depth l, and for W; h and t apart
    h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x_t·1[l=1] + d_b + b_H^l)
    t_l = σ   (d_h ⊙ R_T^l s_{l-1} + d_x ⊙ W_T x_t·1[l=1] + d_b + b_T^l)
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

The published HyperRHN (Suarez, "Language Modeling with Recurrent Highway Hypernetworks", 2017) has a second RHN as its hyper
cell; this one has the layer-norm LSTM that all hyper networks of this package have.

The step is in two parts: ĥ_t and d in hyper.py (`HyperRecurrentCell.advance`), the rest in rhn.py (`rhn_step`).
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from .cell import detach
from .hyper import Blocks, HyperRecurrentCell, HyperRecurrentNetwork
from .native.op import LayerOp
from .native.rhn import rhn as native_rhn
from .rhn import RHNCell


class HyperRHNState(NamedTuple):
    """The state of a HyperRHN: h = s (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions.

    Example:
        >>> output, state = hn.HyperRHN(10, 20, depth=3, hyper_size=8)(torch.randn(5, 3, 10))
        >>> state.hyper_h.shape
        torch.Size([1, 3, 8])
        >>> state = state.detach()  # the same numbers, without their gradients
    """

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


class HyperRHNCell(HyperRecurrentCell):
    """One step of a HyperRHN, `h, state = cell(x, state)`, state HyperRHNState(h, hyper_h, hyper_c).

    A layer-normalised LSTM that reads [x; s] gives the d. For l = 1 … depth, and for t_l likewise with σ:

        h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x·1[l=1] + d_b + b_H^l)
        s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

    x is (B, input_size) or (input_size,). The arguments are those of `HyperRHN`. Parameters: `main` (an RHNCell),
    `hyper.lstm`, and P, p and D of `hyper` for 2·depth blocks of h, 2 of x, 2·depth of b, in this order, h before t at each
    depth. Initialisation as for `RHNCell` and `HyperLSTMCell`.

    Example:
        >>> cell = hn.HyperRHNCell(10, 20, depth=3, hyper_size=8)
        >>> s, state = cell(torch.randn(3, 10))
        >>> s, state = cell(torch.randn(3, 10), state)
        >>> s.shape
        torch.Size([3, 20])

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    main: RHNCell
    state_type: ClassVar[Callable[..., Any] | None] = HyperRHNState
    state_names: ClassVar[tuple[str, ...]] = HyperRHNState._fields
    native: ClassVar[LayerOp | None] = native_rhn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        depth: int = 5,
        transform_bias: float = -2.0,
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
        init: str = "default",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        main = RHNCell(
            input_size,
            hidden_size,
            depth=depth,
            transform_bias=transform_bias,
            recurrent_dropout=recurrent_dropout,
            device=device,
            dtype=dtype,
        )
        super().__init__(
            main,
            Blocks(h=2 * depth, x=2, b=2 * depth),
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            init=init,
            device=device,
            dtype=dtype,
        )


class HyperRHN(HyperRecurrentNetwork[HyperRHNCell]):
    """A multi-layer Recurrent Highway Network whose rows a hyper cell scales; called like torch.nn.LSTM.

    In each layer a layer-normalised LSTM that reads [x; s] gives all d once per time step. Within it, for l = 1 … depth, and
    for t_l likewise with σ:

        h_l = tanh(d_h ⊙ R_H^l s_{l-1} + d_x ⊙ W_H x·1[l=1] + d_b + b_H^l)
        s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

    It is called as follows:

        output, state = rnn(input)            # input (T, B, I), (T, I) or packed
        output, state = rnn(input, state)     # HyperRHNState, (layers·directions, B, ·)

    Arguments that are not listed are those of `HyperLSTM`.

    Args:
        depth, transform_bias: as for `RHN` (5 and −2).
        layer_norm: normalise the hyper cell. The RHN itself has no norm.
        recurrent_dropout: probability of dropping a value of each h_l, drawn again at each step.

    Example:
        >>> rnn = hn.HyperRHN(10, 20, depth=3, hyper_size=8)
        >>> output, state = rnn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: the scaling of HyperNetworks, arXiv 1609.09106, section 3.2, applied to arXiv 1607.03474. Suarez, "Language
    Modeling with Recurrent Highway Hypernetworks" (2017) has an RHN as the hyper cell instead of an LSTM.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
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
            depth=depth,
            transform_bias=transform_bias,
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
            init=init,
            device=device,
            dtype=dtype,
        )
