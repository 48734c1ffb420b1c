"""The gated recurrent unit (GRU), plain and layer-normalised: the main network of HyperGRU and its baseline.

    r   = σ(LN_r(W_r x_t + U_r h_{t-1} + b_r))
    u   = σ(LN_u(W_u x_t + U_u h_{t-1} + b_u))
    n   = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
    h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

Cho et al., arXiv 1406.1078, in the form of torch.nn.GRU: the reset gate acts after the product. Without norm LN(a) = a.
A hyper network scales the rows of W and U and adds d_b to b:
    n = tanh(LN_n(d_x ⊙ W_n x + d_b + b_n + r ⊙ (d_h ⊙ U_n h + b_h)))

B batch, T time, I input, H hidden.  W_x (3H, I), W_h = U (3H, H), b (3H), b_h (H): gates r, u, n.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .cell import PlainCell, named_tensors, part
from .checks import check_floating
from .init import orthogonal_blocks_
from .layer import TorchStandIn
from .native.gru import gru as native_gru
from .native.op import LayerOp
from .norm import LayerNorm, Norm, layer_norm
from .scales import Scales, scaled_sum
from .sequence import NativeParameters


class GRUWeights(NamedTuple):
    """The parameters of one GRU layer, as its steps need them: one norm for r and u, and one for n."""

    weight_x: Tensor
    weight_h: Tensor
    bias: Tensor | None
    bias_h: Tensor | None
    gate_norm: Norm | None
    candidate_norm: Norm | None


def gru_gates(
    wx: Tensor, wh: Tensor, h: Tensor, weights: GRUWeights, scales: Scales | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """r, u and n, each (B, H), from the products as `gru_step` gets them."""
    b_h = weights.bias_h
    if scales is None:
        gates, n_x, n_h = scaled_sum(wx[:2], wh[:2], None), wx[2], wh[2] if b_h is None else wh[2] + b_h
    else:
        assert b_h is not None  # the main cell of a hyper network has biases
        gates = scaled_sum(wx[:2], wh[:2], Scales(scales.h[:2], scales.x[:2], scales.b[:2]))
        n_x = torch.addcmul(scales.b[2], scales.x[2], wx[2])
        n_h = torch.addcmul(b_h, scales.h[2], wh[2])
    # r, u = σ(LN(d_h ⊙ U h_{t-1} + d_x ⊙ W x_t + d_b + b))
    r, u = layer_norm(gates, weights.gate_norm).sigmoid().unbind(0)
    # n = tanh(LN_n(d_x ⊙ W_n x_t + d_b + b_n + r ⊙ (d_h ⊙ U_n h_{t-1} + b_h)))
    return r, u, layer_norm(torch.addcmul(n_x, r, n_h), weights.candidate_norm).tanh()


def gru_step(
    wx: Tensor,
    wh: Tensor,
    state: Sequence[Tensor],
    weights: GRUWeights,
    mask: Tensor | None,
    scales: Scales | None = None,
) -> tuple[Tensor]:
    """One step from wx = W x_t (+ b without scales) and wh = U h_{t-1}, each (3, B, H), and the state (h,)."""
    (h,) = state
    _, u, n = gru_gates(wx, wh, h, weights, scales)
    # h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}
    n = n if mask is None else mask * n
    return (n + u * (h - n),)


class GRUCell(PlainCell):
    """One step of a GRU, `h, state = cell(x, state)`: plain, or layer-normalised with layer_norm=True.

    With the gates r and u and the candidate n:

        r, u = σ(LN(W x_t + U h_{t-1} + b))
        n = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
        h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

    x is (B, input_size) or (input_size,); state is h, (B, hidden_size) or (hidden_size,), zeros if left out.
    The arguments are those of `GRU`. Parameters: `weight_x` (3H, I), `weight_h` (3H, H), `bias` (3H,), gates r, u, n, and
    `bias_h` (H,). Initialisation: W and U orthogonal for each gate, biases and shifts 0.

    Example:
        >>> cell = hn.GRUCell(10, 20)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Source: arXiv 1406.1078; layer norm as in arXiv 1607.06450.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    state_type: ClassVar[Callable[..., Any] | None] = None
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    native: ClassVar[LayerOp | None] = native_gru
    gate_names: tuple[str, ...] = ("r", "u", "n")
    step: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(gru_step)
    gates: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(gru_gates)

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
        self.weight_x: nn.Parameter = nn.Parameter(torch.empty(3 * hidden_size, input_size, **made))
        self.weight_h: nn.Parameter = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, **made))
        self.bias: Any = nn.Parameter(torch.empty(3 * hidden_size, **made)) if bias else None
        self.bias_h: nn.Parameter | None = nn.Parameter(torch.empty(hidden_size, **made)) if bias else None
        self.norm: LayerNorm | None = LayerNorm(3, hidden_size, eps=layer_norm_eps, **made) if layer_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        orthogonal_blocks_(self.weight_x, 3)
        orthogonal_blocks_(self.weight_h, 3)
        if self.bias is not None and self.bias_h is not None:
            nn.init.zeros_(self.bias)
            nn.init.zeros_(self.bias_h)
        if self.norm is not None:
            self.norm.reset_parameters()

    def native_parameters(self) -> NativeParameters | None:
        """The parameters as hypernetworks::gru names them, and the ε of the norm, 0 without."""
        weights = named_tensors(self, "weight_x", "weight_h", "bias", "bias_h")
        norm = part(self, "norm")
        if norm is None:
            return weights, (0.0,)
        return weights | named_tensors(norm, "gain", "shift"), (norm.eps,)

    def weights(self) -> GRUWeights:
        """The parameters, gathered once per call."""
        gate_norm = candidate_norm = None
        if self.norm is not None:
            gain, shift, eps = self.norm.weights()
            gate_norm, candidate_norm = Norm(gain[:2], shift[:2], eps), Norm(gain[2], shift[2], eps)
        return GRUWeights(self.weight_x, self.weight_h, self.bias, self.bias_h, gate_norm, candidate_norm)


class GRU(TorchStandIn[GRUCell]):
    """A multi-layer GRU that replaces torch.nn.GRU: the same arguments in the same order, the same call.

    Each layer computes, for its input x_t; without layer_norm LN(a) = a:

        r, u = σ(LN(W x_t + U h_{t-1} + b))
        n = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
        h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

    It is called as follows:

        output, h = gru(input)          # input (T, B, I), (T, I) or packed
        output, h = gru(input, h)       # h (layers·directions, B, H)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        bias: whether to have b and b_h. torch.nn.GRU has b_h for r and u as well, where it acts as a part of b.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer before the next layer, while training.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        device, dtype: of the parameters.
        layer_norm: normalise each gate (arXiv 1607.06450).
        layer_norm_eps: ε of the norm, by default torch's own.
        recurrent_dropout: probability of dropping a value of n, drawn again at each step (arXiv 1603.05118).

    Initialisation is this package's, not torch's: orthogonal matrices, biases 0.

    Example:
        >>> gru = hn.GRU(10, 20, num_layers=2, layer_norm=True)
        >>> output, h = gru(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: arXiv 1406.1078, in the form of torch.nn.GRU.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = GRUCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
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
            device=device,
            dtype=dtype,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
        )
