"""The basic recurrent network (RNN), plain and layer-normalised: the main network of HyperRNN and its baseline.

    h_t = drop(tanh(LN(W_h h_{t-1} + W_x x_t + b)))

Elman 1990. Without norm LN(a) = a. A hyper network scales the rows: d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b.

B batch, T time, I input, H hidden.  W_x (H, I), W_h (H, H), b (H).
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .cell import PlainCell, named_tensors, part
from .checks import check_floating
from .init import orthogonal_blocks_
from .layer import TorchStandIn
from .native.op import LayerOp
from .native.rnn import rnn as native_rnn
from .norm import LayerNorm, Norm, layer_norm
from .scales import Scales, scaled_sum
from .sequence import NativeParameters


class RNNWeights(NamedTuple):
    """The parameters of one RNN layer, as its steps need them."""

    weight_x: Tensor
    weight_h: Tensor
    bias: Tensor | None
    norm: Norm | None


def rnn_gates(wx: Tensor, wh: Tensor, h: Tensor, weights: RNNWeights, scales: Scales | None = None) -> tuple[Tensor]:
    """h_t before dropout, (B, H): there are no gates."""
    # tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b))
    return (layer_norm(scaled_sum(wx, wh, scales)[0], weights.norm).tanh(),)


def rnn_step(
    wx: Tensor,
    wh: Tensor,
    state: Sequence[Tensor],
    weights: RNNWeights,
    mask: Tensor | None,
    scales: Scales | None = None,
) -> tuple[Tensor]:
    """One step from wx = W_x x_t (+ b without scales) and wh = W_h h_{t-1}, each (1, B, H), and the state (h,)."""
    # h_t = drop(tanh(…))
    (h,) = rnn_gates(wx, wh, state[0], weights, scales)
    return (h if mask is None else mask * h,)


def check_tanh(nonlinearity: str) -> None:
    """The only nonlinearity is tanh."""
    if nonlinearity != "tanh":
        raise ValueError(f"nonlinearity should be 'tanh', the only one hn.RNN supports, got {nonlinearity!r}")


class RNNCell(PlainCell):
    """One step of an RNN, `h, state = cell(x, state)`: plain, or layer-normalised with layer_norm=True.

    It computes

        h_t = drop(tanh(LN(W_h h_{t-1} + W_x x_t + b)))

    x is (B, input_size) or (input_size,); state is h, (B, hidden_size) or (hidden_size,), zeros if left out.
    The arguments are those of `RNN`. Parameters: `weight_x` (H, I), `weight_h` (H, H), `bias` (H,).
    Initialisation: matrices orthogonal, bias and shift 0.

    Example:
        >>> cell = hn.RNNCell(10, 20)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Source: Elman, "Finding structure in time" (1990); layer norm as in arXiv 1607.06450.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    state_type: ClassVar[Callable[..., Any] | None] = None
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    native: ClassVar[LayerOp | None] = native_rnn
    gate_names: tuple[str, ...] = ("h",)
    step: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(rnn_step)
    gates: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(rnn_gates)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        layer_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_tanh(nonlinearity)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight_x: nn.Parameter = nn.Parameter(torch.empty(hidden_size, input_size, **made))
        self.weight_h: nn.Parameter = nn.Parameter(torch.empty(hidden_size, hidden_size, **made))
        self.bias: Any = nn.Parameter(torch.empty(hidden_size, **made)) if bias else None
        self.norm: LayerNorm | None = LayerNorm(hidden_size, eps=layer_norm_eps, **made) if layer_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        orthogonal_blocks_(self.weight_x, 1)
        orthogonal_blocks_(self.weight_h, 1)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.norm is not None:
            self.norm.reset_parameters()

    def native_parameters(self) -> NativeParameters | None:
        """The parameters as hypernetworks::rnn names them, and the ε of the norm, 0 without."""
        weights = named_tensors(self, "weight_x", "weight_h", "bias")
        norm = part(self, "norm")
        if norm is None:
            return weights, (0.0,)
        return weights | named_tensors(norm, "gain", "shift"), (norm.eps,)

    def weights(self) -> RNNWeights:
        """The parameters, gathered once per call."""
        return RNNWeights(self.weight_x, self.weight_h, self.bias, None if self.norm is None else self.norm.weights())


class RNN(TorchStandIn[RNNCell]):
    """A multi-layer RNN that replaces torch.nn.RNN: the same arguments in the same order, the same call.

    Each layer computes, for its input x_t; without layer_norm LN(a) = a:

        h_t = drop(tanh(LN(W_h h_{t-1} + W_x x_t + b)))

    It is called as follows:

        output, h = rnn(input)          # input (T, B, I), (T, I) or packed
        output, h = rnn(input, h)       # h (layers·directions, B, H)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        nonlinearity: only "tanh" is supported.
        bias: whether to have a b: one vector, since torch.nn.RNN's two always act as their sum.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer before the next layer, while training.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        device, dtype: of the parameters.
        layer_norm: normalise the sum of the products (arXiv 1607.06450).
        layer_norm_eps: ε of the norm, by default torch's own.
        recurrent_dropout: probability of dropping a value of h_t, drawn again at each step. It acts on the state itself: a
            plain RNN has no other memory.

    Initialisation is this package's, not torch's: orthogonal matrices, bias 0.

    Example:
        >>> rnn = hn.RNN(10, 20, num_layers=2, layer_norm=True)
        >>> output, h = rnn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: Elman, "Finding structure in time" (1990), in the form of torch.nn.RNN.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        layer_norm: bool = False,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            bias=bias,
            nonlinearity=nonlinearity,
            device=device,
            dtype=dtype,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
        )
        self.nonlinearity = nonlinearity
