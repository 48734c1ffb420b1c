"""The Recurrent Highway Network (RHN): several highway layers, one above the other, within each time step.

    s_0 = s^{t-1}_L, and for l = 1 … L (L is the depth):
    h_l = tanh(W_H x_t·1[l=1] + R_H^l s_{l-1} + b_H^l)
    t_l = σ   (W_T x_t·1[l=1] + R_T^l s_{l-1} + b_T^l)
    s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)                     the carry gate is 1 − t

Zilly, Srivastava, Koutník and Schmidhuber, "Recurrent Highway Networks", arXiv 1607.03474, with coupled gates.
A hyper network scales the rows: d_h^l ⊙ R^l s_{l-1} + d_x ⊙ W x_t·1[l=1] + d_b^l + b^l, for h and t apart.

B batch, N rows of all time steps, I input, H hidden.  W (2H, I), R (L, 2H, H), b (L, 2H): blocks h, t.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import PlainCell, gates_first, named_tensors
from .checks import check_finite, check_floating, check_sizes
from .init import orthogonal_blocks_
from .layer import RecurrentNetwork
from .native.op import LayerOp
from .native.rhn import rhn as native_rhn
from .scales import Scales, scaled_sum
from .sequence import NativeParameters


class RHNWeights(NamedTuple):
    """The parameters of one RHN layer, as its steps need them."""

    weight_x: Tensor
    weight_h: Tensor
    """R^1, (2H, H)."""
    bias: Tensor
    """b^1, (2H,)."""
    deeper: Sequence[tuple[Tensor, Tensor]]
    """R^l and b^l for l = 2 … L."""


def highway_layers(
    wx: Tensor, wh: Tensor, s: Tensor, weights: RHNWeights, mask: Tensor | None, scales: Scales | None
) -> tuple[Tensor, list[Tensor]]:
    """All layers of one time step: s_L, and the gates h_1, t_1, h_2, t_2 … before dropout."""
    gates: list[Tensor] = []
    masks = None if mask is None else mask.chunk(1 + len(weights.deeper), dim=-1)
    # d_h ⊙ R^1 s_{L, t-1} + d_x ⊙ W x_t + d_b + b^1
    pre = scaled_sum(wx, wh, scales if scales is None else Scales(scales.h[:2], scales.x, scales.b[:2]))
    for l in range(1 + len(weights.deeper)):
        if l > 0:
            # d_h^l ⊙ R^l s_{l-1} + d_b^l + b^l
            R, b = weights.deeper[l - 1]
            if scales is None:
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


def rhn_gates(
    wx: Tensor, wh: Tensor, h: Tensor, weights: RHNWeights, scales: Scales | None = None
) -> tuple[Tensor, ...]:
    """h_1, t_1, h_2, t_2 … of all layers, each (B, H), before dropout; h is the state s."""
    return tuple(highway_layers(wx, wh, h, weights, None, scales)[1])


def rhn_step(
    wx: Tensor,
    wh: Tensor,
    state: Sequence[Tensor],
    weights: RHNWeights,
    mask: Tensor | None,
    scales: Scales | None = None,
) -> tuple[Tensor]:
    """One step from wx = W x_t (+ b^1 without scales) and wh = R^1 s, each (2, B, H), and the state (s,)."""
    (s,) = state
    return (highway_layers(wx, wh, s, weights, mask, scales)[0],)


class RHNCell(PlainCell):
    """One step of a Recurrent Highway Network, `s, state = cell(x, state)`; the state is s, a bare tensor.

    For l = 1 … depth:

        h_l = tanh(W_H x·1[l=1] + R_H^l s_{l-1} + b_H^l)
        t_l = σ(W_T x·1[l=1] + R_T^l s_{l-1} + b_T^l)
        s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

    x is (B, input_size) or (input_size,); state (B, hidden_size) or (hidden_size,), zeros if left out.
    The arguments are those of `RHN`. Initialisation: every matrix orthogonal, b_H = 0, b_T = transform_bias.

    Example:
        >>> cell = hn.RHNCell(10, 20, depth=3)
        >>> s, state = cell(torch.randn(3, 10))
        >>> s, state = cell(torch.randn(3, 10), state)
        >>> s.shape
        torch.Size([3, 20])

    Source: arXiv 1607.03474, section 4.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    state_type: ClassVar[Callable[..., Any] | None] = None
    state_names: ClassVar[tuple[str, ...]] = ("s",)
    native: ClassVar[LayerOp | None] = native_rhn
    step: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(rhn_step)
    gates: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(rhn_gates)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        depth: int = 5,
        transform_bias: float = -2.0,
        recurrent_dropout: float = 0.0,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_sizes(depth=depth)
        check_finite("transform_bias", transform_bias)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.depth = depth
        self.gate_names: tuple[str, ...] = tuple(f"{gate}{l}" for l in range(1, depth + 1) for gate in "ht")
        self.transform_bias = transform_bias
        self.weight_x: nn.Parameter = nn.Parameter(torch.empty(2 * hidden_size, input_size, **made))
        self.weight_h: nn.Parameter = nn.Parameter(torch.empty(depth, 2 * hidden_size, hidden_size, **made))
        self.bias: Any = nn.Parameter(torch.empty(depth, 2 * hidden_size, **made))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        orthogonal_blocks_(self.weight_x, 2)
        orthogonal_blocks_(self.weight_h.flatten(0, 1), 2 * self.depth)
        self.bias.zero_()
        self.bias[:, self.hidden_size :].fill_(self.transform_bias)

    @property
    def candidate_size(self) -> int:
        """One candidate h_l at each depth."""
        return self.depth * self.hidden_size

    def weights(self) -> RHNWeights:
        """The parameters, gathered once per call."""
        (R, *deeper_R), (b, *deeper_b) = self.weight_h.unbind(0), self.bias.unbind(0)
        return RHNWeights(self.weight_x, R, b, list(zip(deeper_R, deeper_b, strict=True)))

    def native_parameters(self) -> NativeParameters:
        """The parameters as hypernetworks::rhn names them."""
        return named_tensors(self, "weight_x", "weight_h", "bias"), (0.0,)

    def shown_settings(self) -> dict[str, Any]:
        """Those of all cells, the depth, and a transform_bias that is not the default."""
        shown = super().shown_settings() | {"depth": self.depth}
        return shown if self.transform_bias == -2 else shown | {"transform_bias": self.transform_bias}


class RHN(RecurrentNetwork[RHNCell]):
    """A multi-layer Recurrent Highway Network, called like torch.nn.GRU: its state is a bare tensor.

    In each layer, for l = 1 … depth within one time step:

        h_l = tanh(W_H x·1[l=1] + R_H^l s_{l-1} + b_H^l)
        t_l = σ(W_T x·1[l=1] + R_T^l s_{l-1} + b_T^l)
        s_l = drop(h_l) ⊙ t_l + s_{l-1} ⊙ (1 − t_l)

    It is called as follows:

        output, state = rhn(input)            # input (T, B, I), (T, I) or packed
        output, state = rhn(input, state)     # state (layers·directions, B, H)

    Args:
        input_size, hidden_size, num_layers: I, H and the number of layers, each at least 1.
        depth: highway layers within a time step; the paper has 10 for Penn Treebank, 5 and 10 for enwik8.
        transform_bias: initial b_T, negative so that a new network carries its state; the paper has −2 for Penn Treebank
            and −4 for enwik8 and text8.
        batch_first: input and output are (B, T, ·) instead of (T, B, ·); the state is not affected.
        dropout: probability of dropping an output of a layer before the next layer, while training.
        recurrent_dropout: probability of dropping a value of each h_l, drawn again at each step.
        bidirectional: a second cell per layer reads backwards; outputs are 2·H wide, forward half first.
        device, dtype: of the parameters.

    Example:
        >>> rhn = hn.RHN(10, 20, depth=3)
        >>> output, s = rhn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: Recurrent Highway Networks, arXiv 1607.03474, section 4.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
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
            recurrent_dropout=recurrent_dropout,
            device=device,
            dtype=dtype,
        )
