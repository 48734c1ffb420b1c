"""The Recurrent Highway Network: several highway layers, one above the other, within each time step.

    s_0 = s^{t-1}_L, and for l = 1 … L (L is the depth):
    h_l = tanh(W_H x_t·1[l=1] + R_H^l s_{l-1} + b_H^l)
    t_l = σ   (W_T x_t·1[l=1] + R_T^l s_{l-1} + b_T^l)
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)                     the carry gate is 1 − t

Zilly, Srivastava, Koutník and Schmidhuber, "Recurrent Highway Networks", arXiv 1607.03474, with coupled gates.
A hyper network scales the rows: d_h^l ⊙ R^l s_{l-1} + d_x ⊙ W x_t·1[l=1] + d_b^l + b^l, for h and t apart.

B batch, N rows of all time steps, I input, H hidden.  W (2H, I), R (L, 2H, H), b (L, 2H): blocks h, t.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import NativeParameters, PlainCell, gates_first
from .checks import check_finite, check_floating, check_sizes
from .init import orthogonal_blocks_
from .layer import RecurrentNetwork
from .native.rhn import rhn as native_rhn
from .scales import Scales, scaled_sum


class RHNWeights(NamedTuple):
    """The parameters of one RHN layer, as its steps need them."""

    weight_x: Tensor
    weight_h: Sequence[Tensor]
    bias: Sequence[Tensor]


def rhn_step(
    wx: Tensor, wh: Tensor, s: Tensor, weights: RHNWeights, mask: Tensor | None, scales: Scales | None = None
) -> tuple[Tensor, list[Tensor]]:
    """One step from wx = W x_t (+ b^1 where there are no scales) and wh = R^1 s^{t-1}, each (2, B, H).

    s_L, and h_1, t_1, h_2, t_2 … of all depths, before dropout.
    """
    gates: list[Tensor] = []
    masks = None if mask is None else mask.chunk(len(weights.weight_h), dim=-1)
    for l, (R, b) in enumerate(zip(weights.weight_h, weights.bias, strict=True)):
        if l == 0:
            pre = scaled_sum(wx, wh, scales if scales is None else Scales(scales.h[:2], scales.x, scales.b[:2]))
        elif scales is None:
            pre = gates_first(F.linear(s, R, b), 2)
        else:
            block = slice(2 * l, 2 * l + 2)
            pre = torch.addcmul(scales.b[block], scales.h[block], gates_first(F.linear(s, R), 2))
        # h_l = tanh(…), t_l = σ(…)
        h, t = pre[0].tanh(), pre[1].sigmoid()
        gates += (h, t)
        # s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)
        s = s + t * ((h if masks is None else masks[l] * h) - s)
    return s, gates


class RHNCell(PlainCell):
    """One step of a Recurrent Highway Network, `s, state = cell(x, state)`; state is s, a bare tensor.

    For l = 1 … depth: h_l = tanh(W_H x·1[l=1] + R_H^l s_{l-1} + b_H^l), t_l = σ(W_T x·1[l=1] + R_T^l s_{l-1} + b_T^l),
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l).

    x is (B, input_size) or (input_size,); state (B, hidden_size) or (hidden_size,), zeros when left out.
    Arguments as for `RHN`. Initialisation: every matrix orthogonal, b_H = 0, b_T = transform_bias.

    Source: arXiv 1607.03474, section 4. Errors: ValueError or TypeError that names the argument.
    """

    state_type = None
    state_names = ("s",)
    native = native_rhn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        depth: int = 5,
        transform_bias: float = -2.0,
        recurrent_dropout: float = 0.0,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_sizes(depth=depth)
        check_finite("transform_bias", transform_bias)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.depth = depth
        self.transform_bias = transform_bias
        self.weight_x = nn.Parameter(torch.empty(2 * hidden_size, input_size, **made))
        self.weight_h = nn.Parameter(torch.empty(depth, 2 * hidden_size, hidden_size, **made))
        self.bias = nn.Parameter(torch.empty(depth, 2 * hidden_size, **made))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        orthogonal_blocks_(self.weight_x, 2)
        orthogonal_blocks_(self.weight_h.flatten(0, 1), 2 * self.depth)
        self.bias.zero_()
        self.bias[:, self.hidden_size :].fill_(self.transform_bias)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Width of s."""
        return (self.hidden_size,)

    @property
    def candidate_size(self) -> int:
        """One candidate h_l at each depth."""
        return self.depth * self.hidden_size

    @property
    def gate_names(self) -> tuple[str, ...]:
        """h1, t1, h2, t2 …: h and t at each depth."""
        return tuple(f"{gate}{l}" for l in range(1, self.depth + 1) for gate in "ht")

    def matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        """W, R^1 and b: what a hyper network scales the rows of, besides the deeper R, which `rhn_step` reads itself."""
        return self.weight_x, self.weight_h[0], self.bias

    def weights(self) -> RHNWeights:
        """The parameters, put together once per call."""
        return RHNWeights(self.weight_x, self.weight_h.unbind(0), self.bias.unbind(0))

    def native_parameters(self) -> NativeParameters:
        """The parameters as hypernetworks::rhn names them."""
        return {name: getattr(self, name) for name in ("weight_x", "weight_h", "bias")}, ()

    def project(self, x: Tensor, weights: RHNWeights) -> tuple[Tensor]:
        """W x + b^1 for all rows at once, (2, N, H)."""
        return (gates_first(F.linear(x, weights.weight_x, weights.bias[0]), 2),)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: RHNWeights, mask: Tensor | None
    ) -> tuple[Tensor]:
        """One time step, see `rhn_step`."""
        (s,) = state
        wh = gates_first(F.linear(s, weights.weight_h[0]), 2)
        return (rhn_step(inputs[0], wh, s, weights, mask)[0],)

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{super().extra_repr()}, depth={self.depth}"


class RHN(RecurrentNetwork[RHNCell]):
    """A multi-layer Recurrent Highway Network, called as torch.nn.GRU is called: its state is a bare tensor.

    In each layer, for l = 1 … depth within one time step: h_l = tanh(W_H x·1[l=1] + R_H^l s_{l-1} + b_H^l),
    t_l = σ(W_T x·1[l=1] + R_T^l s_{l-1} + b_T^l), s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l).

        output, state = rhn(input)            # input (T, B, I), (B, T, I) with batch_first, (T, I), or packed
        output, state = rhn(input, state)     # state (layers·directions, B, H)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        depth: highway layers within a time step; the paper has 10 for Penn Treebank, 5 and 10 for enwik8.
        transform_bias: b_T at the start, negative so that a fresh network carries; the paper has −2 for Penn Treebank
            and −4 for enwik8 and text8.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer on its way to the next, while training.
        recurrent_dropout: probability of dropping a value of each h_l, fresh for each step.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        device, dtype: of the parameters.

    Source: Recurrent Highway Networks, arXiv 1607.03474, section 4.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    cell_type = RHNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        depth: int = 5,
        transform_bias: float = -2.0,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype=None,
    ) -> None:
        make_cell = partial(
            RHNCell,
            hidden_size=hidden_size,
            depth=depth,
            transform_bias=transform_bias,
            recurrent_dropout=recurrent_dropout,
            device=device,
            dtype=dtype,
        )
        super().__init__(
            make_cell,
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )
