"""The gated recurrent unit that HyperGRU scales. (torch.nn.GRU is the one to use for a plain GRU.)

    r   = σ(LN_r(W_r x_t + U_r h_{t-1} + b_r))
    u   = σ(LN_u(W_u x_t + U_u h_{t-1} + b_u))
    n   = tanh(LN_n(W_n x_t + b_n + r ⊙ (U_n h_{t-1} + b_h)))
    h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}

Cho et al., arXiv 1406.1078, in the form of torch.nn.GRU: the reset gate acts after the product. Without norm LN(a) = a.
A hyper network scales the rows of W and U and adds d_b beside b:
    n = tanh(LN_n(d_x ⊙ W_n x + d_b + b_n + r ⊙ (d_h ⊙ U_n h + b_h)))

W_x (3H, I), W_h = U (3H, H), b (3H), b_h (H): gates r, u, n.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import NativeParameters, PlainCell, Read, gates_first
from .checks import check_floating
from .init import orthogonal_blocks_
from .native.gru import gru as native_gru
from .native.op import Tensors
from .norm import LayerNorm, Norm, layer_norm
from .scales import Scales, scaled_sum


class GRUWeights(NamedTuple):
    """The parameters of one GRU layer, as its steps need them; norm of r and u, and of n, apart."""

    weight_x: Tensor
    weight_h: Tensor
    bias: Tensor
    bias_h: Tensor
    gate_norm: Norm | None
    candidate_norm: Norm | None


def gru_gates(wx: Tensor, wh: Tensor, weights: GRUWeights, scales: Scales | None) -> tuple[Tensor, Tensor, Tensor]:
    """r, u and n, each (B, H), from the products as `gru_step` gets them."""
    if scales is None:
        gates, n_x, n_h = scaled_sum(wx[:2], wh[:2], None), wx[2], wh[2] + weights.bias_h
    else:
        gates = scaled_sum(wx[:2], wh[:2], Scales(scales.h[:2], scales.x[:2], scales.b[:2]))
        n_x = torch.addcmul(scales.b[2], scales.x[2], wx[2])
        n_h = torch.addcmul(weights.bias_h, scales.h[2], wh[2])
    # r, u = σ(LN(d_h ⊙ U h_{t-1} + d_x ⊙ W x_t + d_b + b))
    r, u = layer_norm(gates, weights.gate_norm).sigmoid().unbind(0)
    # n = tanh(LN_n(d_x ⊙ W_n x_t + d_b + b_n + r ⊙ (d_h ⊙ U_n h_{t-1} + b_h)))
    return r, u, layer_norm(torch.addcmul(n_x, r, n_h), weights.candidate_norm).tanh()


def gru_step(
    wx: Tensor, wh: Tensor, h: Tensor, weights: GRUWeights, mask: Tensor | None, scales: Scales | None = None
) -> Tensor:
    """One step from wx = W x_t (+ b where there are no scales) and wh = U h_{t-1}, each (3, B, H)."""
    _, u, n = gru_gates(wx, wh, weights, scales)
    # h_t = (1 − u) ⊙ drop(n) + u ⊙ h_{t-1}
    n = n if mask is None else mask * n
    return n + u * (h - n)


class GRUCell(PlainCell):
    """The parameters of one GRU layer and its step; what `HyperGRUCell` has for a main network."""

    state_type = None
    state_names = ("h",)
    native = native_gru

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        layer_norm: bool,
        layer_norm_eps: float,
        recurrent_dropout: float,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.weight_x = nn.Parameter(torch.empty(3 * hidden_size, input_size, **made))
        self.weight_h = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, **made))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size, **made))
        self.bias_h = nn.Parameter(torch.empty(hidden_size, **made))
        self.norm = LayerNorm(3, hidden_size, eps=layer_norm_eps, **made) if layer_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: orthogonal gates, biases zero."""
        orthogonal_blocks_(self.weight_x, 3)
        orthogonal_blocks_(self.weight_h, 3)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.bias_h)
        if self.norm is not None:
            self.norm.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Width of h."""
        return (self.hidden_size,)

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The gates, in the order of their blocks."""
        return "r", "u", "n"

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """W, U and b: what a hyper network scales the rows of."""
        return self.weight_x, self.weight_h, self.bias

    def weights(self) -> GRUWeights:
        """The parameters, put together once per call."""
        gate_norm = candidate_norm = None
        if self.norm is not None:
            gain, shift, eps = self.norm.weights()
            gate_norm, candidate_norm = Norm(gain[:2], shift[:2], eps), Norm(gain[2], shift[2], eps)
        return GRUWeights(self.weight_x, self.weight_h, self.bias, self.bias_h, gate_norm, candidate_norm)

    def native_parameters(self, read: Read = getattr) -> NativeParameters | None:
        """The parameters as hypernetworks::gru names them, and the ε of the norm."""
        weights: Tensors = {name: read(self, name) for name in ("weight_x", "weight_h", "bias", "bias_h")}
        norm = read(self, "norm")
        if norm is None:
            return weights, (0.0,)
        return weights | {name: read(norm, name) for name in ("gain", "shift")}, (read(norm, "eps"),)

    def project(self, x: Tensor, weights: GRUWeights) -> tuple[Tensor]:
        """W x + b for all rows at once, (3, N, H)."""
        return (gates_first(F.linear(x, weights.weight_x, weights.bias), 3),)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: GRUWeights, mask: Tensor | None
    ) -> tuple[Tensor]:
        """One time step, see `gru_step`."""
        (h,) = state
        return (gru_step(inputs[0], gates_first(F.linear(h, weights.weight_h), 3), h, weights, mask),)
