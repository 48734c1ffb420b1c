"""The plain recurrent network that HyperRNN makes the weights of. (torch.nn.RNN is the one to use for a plain RNN.)

    h_t = drop(tanh(LN(W_h h_{t-1} + W_x x_t + b)))

Elman 1990. Without norm LN(a) = a. A hyper network scales the rows, d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b, or mixes several
matrices into one, W = Σ_k z[k] W[k]; then there are M of them, one below the other.

W_x (M·H, I), W_h (M·H, H), b (H).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import NativeParameters, PlainCell, Read, gates_first
from .checks import check_floating
from .init import orthogonal_blocks_
from .native.op import Tensors
from .native.rnn import rnn as native_rnn
from .norm import LayerNorm, Norm, layer_norm
from .scales import scaled_sum


class RNNWeights(NamedTuple):
    """The parameters of one RNN layer, as its steps need them."""

    weight_x: Tensor
    weight_h: Tensor
    bias: Tensor
    norm: Norm | None


def rnn_step(pre: Tensor, weights: RNNWeights, mask: Tensor | None) -> Tensor:
    """One step from the sum of the products, pre = W_h h_{t-1} + W_x x_t + b or what a hyper network made of it, (B, H)."""
    # h_t = drop(tanh(LN(pre)))
    h = layer_norm(pre, weights.norm).tanh()
    return h if mask is None else mask * h


class RNNCell(PlainCell):
    """The parameters of one RNN layer and its step; what `HyperRNNCell` has for a main network, with M matrices."""

    state_type = None
    state_names = ("h",)
    native = native_rnn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        matrices: int = 1,
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
        self.matrices_mixed = matrices
        self.weight_x = nn.Parameter(torch.empty(matrices * hidden_size, input_size, **made))
        self.weight_h = nn.Parameter(torch.empty(matrices * hidden_size, hidden_size, **made))
        self.bias = nn.Parameter(torch.empty(hidden_size, **made))
        self.norm = LayerNorm(hidden_size, eps=layer_norm_eps, **made) if layer_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew: orthogonal matrices over √M, so that Σ_k W[k] has rows of length 1; biases zero."""
        gain = self.matrices_mixed**-0.5
        orthogonal_blocks_(self.weight_x, self.matrices_mixed, gain)
        orthogonal_blocks_(self.weight_h, self.matrices_mixed, gain)
        nn.init.zeros_(self.bias)
        if self.norm is not None:
            self.norm.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Width of h."""
        return (self.hidden_size,)

    @property
    def gate_names(self) -> tuple[str, ...]:
        """There is one block: h itself."""
        return ("h",)

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """W_x, W_h and b: what a hyper network scales or mixes."""
        return self.weight_x, self.weight_h, self.bias

    def weights(self) -> RNNWeights:
        """The parameters, put together once per call."""
        norm = None if self.norm is None else self.norm.weights()
        return RNNWeights(self.weight_x, self.weight_h, self.bias, norm)

    def native_parameters(self, read: Read = getattr) -> NativeParameters | None:
        """The parameters as hypernetworks::rnn names them, and the ε of the norm."""
        if self.matrices_mixed > 1:
            return None
        weights: Tensors = {name: read(self, name) for name in ("weight_x", "weight_h", "bias")}
        norm = read(self, "norm")
        if norm is None:
            return weights, (0.0,)
        return weights | {name: read(norm, name) for name in ("gain", "shift")}, (read(norm, "eps"),)

    def project(self, x: Tensor, weights: RNNWeights) -> tuple[Tensor]:
        """W_x x + b for all rows at once, (1, N, H)."""
        return (F.linear(x, weights.weight_x, weights.bias).unsqueeze(0),)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: RNNWeights, mask: Tensor | None
    ) -> tuple[Tensor]:
        """One time step, see `rnn_step`."""
        (h,) = state
        return (rnn_step(scaled_sum(inputs[0], gates_first(F.linear(h, weights.weight_h), 1), None)[0], weights, mask),)
