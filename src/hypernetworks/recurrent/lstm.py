"""The long short-term memory (LSTM), plain and layer-normalised: the main network of HyperLSTM and its baseline.

    pre^y = LN_y(W_x^y x_t + W_h^y h_{t-1} + b^y)              for each gate y of i, f, g, o
    c_t   = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)               recurrent dropout on tanh g alone: no memory is lost
    h_t   = σ(o) ⊙ tanh(LN_c(c_t))                             c_t itself is carried un-normalised

The plain LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) has LN(a) = a.
A hyper network scales the rows: pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y).

B batch, T time, I input, H hidden.  W_x (4H, I), W_h (4H, H), b (4H): gates i, f, g, o.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .cell import PlainCell, detach, named_tensors, part
from .checks import check_floating
from .init import FORGET_GATE, forget_gate_, orthogonal_blocks_
from .layer import TorchStandIn
from .native.lstm import lstm as native_lstm
from .native.op import LayerOp
from .norm import LayerNorm, Norm, layer_norm
from .scales import Scales, scaled_sum
from .sequence import NativeParameters


class LSTMState(NamedTuple):
    """The state of an LSTM: h and c, each (layers·directions, B, H), or (B, H) for a cell.

    Example:
        >>> output, state = hn.LSTM(10, 20)(torch.randn(5, 3, 10))
        >>> state.c.shape
        torch.Size([1, 3, 20])
        >>> state = state.detach()  # the same numbers, without their gradients
    """

    h: Tensor
    c: Tensor
    detach = detach


class LSTMWeights(NamedTuple):
    """The parameters of one LSTM layer, as its steps need them."""

    weight_x: Tensor
    weight_h: Tensor
    bias: Tensor | None
    norm: Norm | None
    cell_norm: Norm | None


def lstm_gates(
    wx: Tensor, wh: Tensor, h: Tensor, weights: LSTMWeights, scales: Scales | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """σ(i), σ(f), tanh g and σ(o), each (B, H), from the products as `lstm_step` gets them."""
    # pre^y = LN_y(d_h^y ⊙ W_h^y h_{t-1} + d_x^y ⊙ W_x^y x_t + d_b^y + b^y)
    i, f, g, o = layer_norm(scaled_sum(wx, wh, scales), weights.norm).unbind(0)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def lstm_step(
    wx: Tensor,
    wh: Tensor,
    state: Sequence[Tensor],
    weights: LSTMWeights,
    mask: Tensor | None,
    scales: Scales | None = None,
) -> tuple[Tensor, Tensor]:
    """One step from wx = W_x x_t (+ b without scales) and wh = W_h h_{t-1}, each (4, B, H), and the state (h, c)."""
    h, c = state
    i, f, g, o = lstm_gates(wx, wh, h, weights, scales)
    # c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
    c = f * c + i * (g if mask is None else mask * g)
    # h_t = σ(o) ⊙ tanh(LN_c(c_t))
    return o * layer_norm(c, weights.cell_norm).tanh(), c


class LSTMCell(PlainCell):
    """One step of an LSTM, `h, state = cell(x, state)`: plain, or layer-normalised with layer_norm=True.

    With the gates y = i, f, g, o:

        pre^y = LN_y(W_x^y x_t + W_h^y h_{t-1} + b^y)
        c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
        h_t = σ(o) ⊙ tanh(LN_c(c_t))

    x is (B, input_size) or (input_size,); state is LSTMState(h, c), each (B, hidden_size), zeros if left out.
    The arguments are those of `LSTM`. Initialisation: W_x and W_h orthogonal for each gate; all biases and shifts 0 but the
    forget gate's, which is 1 (it is a part of LN's shift if there is a norm, else of b).

    Example:
        >>> cell = hn.LSTMCell(10, 20)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Source: HyperNetworks, arXiv 1609.09106, appendix A.2; layer norm as in arXiv 1607.06450, supplement.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    state_type: ClassVar[Callable[..., Any] | None] = LSTMState
    state_names: ClassVar[tuple[str, ...]] = LSTMState._fields
    gate_names: tuple[str, ...] = ("i", "f", "g", "o")
    native: ClassVar[LayerOp | None] = native_lstm
    step: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(lstm_step)
    gates: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(lstm_gates)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        layer_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight_x: nn.Parameter = nn.Parameter(torch.empty(4 * hidden_size, input_size, **made))
        self.weight_h: nn.Parameter = nn.Parameter(torch.empty(4 * hidden_size, hidden_size, **made))
        self.bias: Any = nn.Parameter(torch.empty(4 * hidden_size, **made)) if bias else None
        self.norm: LayerNorm | None = None
        self.cell_norm: LayerNorm | None = None
        if layer_norm:
            self.norm = LayerNorm(4, hidden_size, eps=layer_norm_eps, initial_shift=FORGET_GATE, **made)
            self.cell_norm = LayerNorm(hidden_size, eps=layer_norm_eps, **made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        orthogonal_blocks_(self.weight_x, 4)
        orthogonal_blocks_(self.weight_h, 4)
        if self.norm is not None and self.cell_norm is not None:
            self.norm.reset_parameters()
            self.cell_norm.reset_parameters()
            if self.bias is not None:
                nn.init.zeros_(self.bias)
        elif self.bias is not None:
            forget_gate_(self.bias)

    def weights(self) -> LSTMWeights:
        """The parameters, put together once per call."""
        norm = None if self.norm is None else self.norm.weights()
        cell_norm = None if self.cell_norm is None else self.cell_norm.weights()
        return LSTMWeights(self.weight_x, self.weight_h, self.bias, norm, cell_norm)

    def native_parameters(self) -> NativeParameters | None:
        """The parameters as hypernetworks::lstm names them, and the ε of both norms."""
        weights = named_tensors(self, "weight_x", "weight_h", "bias")
        norm, cell_norm = part(self, "norm"), part(self, "cell_norm")
        if norm is None or cell_norm is None:
            return weights, (0.0,)
        eps = norm.eps
        if eps != cell_norm.eps:
            return None
        weights |= named_tensors(norm, "gain", "shift")
        of_cell = named_tensors(cell_norm, "gain", "shift")
        weights["cell_gain"], weights["cell_shift"] = of_cell["gain"], of_cell["shift"]
        return weights, (eps,)


class LSTM(TorchStandIn[LSTMCell]):
    """A multi-layer LSTM that replaces torch.nn.LSTM: the same arguments in the same order, the same call.

    Each layer computes, for its input x_t and the gates y = i, f, g, o; without layer_norm LN(a) = a:

        pre^y = LN_y(W_x^y x_t + W_h^y h_{t-1} + b^y)
        c_t = σ(f) ⊙ c_{t-1} + σ(i) ⊙ drop(tanh g)
        h_t = σ(o) ⊙ tanh(LN_c(c_t))

    It is called as follows:

        output, state = lstm(input)            # input (T, B, I), (T, I) or packed
        output, state = lstm(input, state)     # LSTMState(h, c), or any tuple (h, c)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        bias: whether to have a b: one vector, since torch.nn.LSTM's two always act as their sum.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer before the next layer, while training.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        proj_size: only 0 is supported.
        device, dtype: of the parameters.
        layer_norm: normalise each gate, and the cell state where h is computed from it (arXiv 1607.06450).
        layer_norm_eps: ε of all norms, by default torch's own.
        recurrent_dropout: probability of dropping a value of tanh g, drawn again at each step (arXiv 1603.05118).

    Initialisation is the paper's, not torch's: orthogonal matrices, forget gate 1, see `LSTMCell`.

    Example:
        >>> lstm = hn.LSTM(10, 20, num_layers=2, layer_norm=True)
        >>> output, (h, c) = lstm(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: HyperNetworks, arXiv 1609.09106, appendix A.2.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        layer_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
    ) -> None:
        if proj_size != 0:
            raise ValueError(f"proj_size should be 0, the only size hn.LSTM supports, got {proj_size}")
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            bias=bias,
            device=device,
            dtype=dtype,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
        )
