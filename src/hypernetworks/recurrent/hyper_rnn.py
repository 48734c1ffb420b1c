"""HyperRNN: the basic recurrent network with generated weights, in the paper's two forms.

    ĥ_t = LSTM([x_t; h_{t-1}])                                        the hyper cell, of size K
    z_a = P_a ĥ_t + p_a                                               for a of h, x, b (no p for b)

    generation "full":   W_h(z_h) = <W_hz, z_h> = Σ_k z_h[k] W_hz[k],  W_x(z_x) likewise,  b(z_b) = D_b z_b + b
                         h_t = drop(tanh(LN(W_h(z_h) h_{t-1} + W_x(z_x) x_t + b(z_b))))
    generation "scale":  d_a = D_a z_a
                         h_t = drop(tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b)))

Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, sections 3.2 and A.2.1. "full" needs Z matrices where "scale" needs one,
which is why the paper continues with rows. The paper's hyper cell there is a plain RNN; here it is the LSTM that all hyper
networks have.

The step is in two parts: ĥ_t, z and d in hyper.py (`HyperRecurrentCell.advance`), h_t in rnn.py (`rnn_step`), and for "full"
here (`mixed_step`).

B batch, I input, H hidden, K hyper hidden, Z embedding.  W_hz (Z·H, H), W_xz (Z·H, I): Z matrices, one below the other.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .cell import PlainCell, detach
from .checks import check_choice, check_floating, check_sizes
from .hyper import Blocks, HyperRecurrentCell, HyperRecurrentNetwork, HyperWeights, row_scales
from .init import orthogonal_blocks_
from .native.op import LayerOp
from .native.rnn import rnn as native_rnn
from .norm import LayerNorm, layer_norm
from .rnn import RNNCell, RNNWeights

GENERATIONS = ("scale", "full")


class HyperRNNState(NamedTuple):
    """The state of a HyperRNN: h (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions.

    Example:
        >>> output, state = hn.HyperRNN(10, 20, hyper_size=8)(torch.randn(5, 3, 10))
        >>> state.hyper_h.shape
        torch.Size([1, 3, 8])
        >>> state = state.detach()  # the same numbers, without their gradients
    """

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


class Mixture(NamedTuple):
    """What the Z matrices of one step are mixed with, in place of scales."""

    h: Tensor
    """z_h, (B, Z)."""
    x: Tensor
    """z_x, (B, Z)."""
    b: Tensor
    """D_b z_b, (B, H)."""


def mixed_gates(wx: Tensor, wh: Tensor, h: Tensor, weights: RNNWeights, scales: Mixture | None = None) -> tuple[Tensor]:
    """h_t before dropout, (B, H), from the products of all Z matrices: wx[k] = W_xz[k] x, wh[k] = W_hz[k] h.

    <W_hz, z_h> h = Σ_k z_h[k] (W_hz[k] h): the products of the fixed matrices are mixed; no matrix is built per sample.
    """
    assert scales is not None  # without a hyper cell there is nothing to mix with
    assert weights.bias is not None
    generated = torch.einsum("bk,kbh->bh", scales.h, wh) + torch.einsum("bk,kbh->bh", scales.x, wx)
    # tanh(LN(W_h(z_h) h_{t-1} + W_x(z_x) x_t + D_b z_b + b))
    return (layer_norm(generated + scales.b + weights.bias, weights.norm).tanh(),)


def mixed_step(
    wx: Tensor,
    wh: Tensor,
    state: Sequence[Tensor],
    weights: RNNWeights,
    mask: Tensor | None,
    scales: Mixture | None = None,
) -> tuple[Tensor]:
    """One step from the products of all Z matrices, each (Z, B, H), and the state (h,)."""
    # h_t = drop(tanh(…))
    (h,) = mixed_gates(wx, wh, state[0], weights, scales)
    return (h if mask is None else mask * h,)


class MixedRNNCell(PlainCell):
    """The main network of HyperRNN with generation="full": Z matrices, which are mixed into one at every step.

    Initialisation: orthogonal matrices over √Z, so that their sum has rows of length 1; bias 0.
    """

    state_type: ClassVar[Callable[..., Any] | None] = None
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    gate_names: tuple[str, ...] = ("h",)
    step: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(mixed_step)
    gates: ClassVar[Callable[..., tuple[Tensor, ...]]] = staticmethod(mixed_gates)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        matrices: int,
        *,
        layer_norm: bool,
        layer_norm_eps: float,
        recurrent_dropout: float,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.matrices = matrices
        self.weight_x: nn.Parameter = nn.Parameter(torch.empty(matrices * hidden_size, input_size, **made))
        self.weight_h: nn.Parameter = nn.Parameter(torch.empty(matrices * hidden_size, hidden_size, **made))
        self.bias: Any = nn.Parameter(torch.empty(hidden_size, **made))
        self.norm: LayerNorm | None = LayerNorm(hidden_size, eps=layer_norm_eps, **made) if layer_norm else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        orthogonal_blocks_(self.weight_x, self.matrices, gain=self.matrices**-0.5)
        orthogonal_blocks_(self.weight_h, self.matrices, gain=self.matrices**-0.5)
        nn.init.zeros_(self.bias)
        if self.norm is not None:
            self.norm.reset_parameters()

    def weights(self) -> RNNWeights:
        """The parameters, gathered once per call."""
        norm = None if self.norm is None else self.norm.weights()
        return RNNWeights(self.weight_x, self.weight_h, self.bias, norm)


class HyperRNNCell(HyperRecurrentCell):
    """One step of a HyperRNN, `h, state = cell(x, state)`, state HyperRNNState(h, hyper_h, hyper_c).

    A layer-normalised LSTM that reads [x_t; h_{t-1}] gives z_a = P_a ĥ_t + p_a for a of h, x, b. With generation="scale" z
    scales the rows of the matrices, d_a = D_a z_a, and with "full" it gives the whole matrices:

        h_t = drop(tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b)))         "scale"
        h_t = drop(tanh(LN(<W_hz, z_h> h_{t-1} + <W_xz, z_x> x_t + D_b z_b + b))) "full"

    x is (B, input_size) or (input_size,). The arguments are those of `HyperRNN`. Parameters: `main.weight_x` (H, I) and
    `main.weight_h` (H, H), with "full" (Z·H, I) and (Z·H, H), Z matrices one below the other; `main.bias` (H,); `hyper.lstm`;
    P (3, Z, K), p (2, Z) and D (3, H, Z), with "full" (1, H, Z), of `hyper`.
    Initialisation as for `HyperLSTMCell`; with "full" the Z matrices are orthogonal over √Z, and z starts near 1.

    Example:
        >>> cell = hn.HyperRNNCell(10, 20, hyper_size=8)
        >>> h, state = cell(torch.randn(3, 10))
        >>> h, state = cell(torch.randn(3, 10), state)
        >>> h.shape
        torch.Size([3, 20])

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    main: RNNCell | MixedRNNCell
    state_type: ClassVar[Callable[..., Any] | None] = HyperRNNState
    state_names: ClassVar[tuple[str, ...]] = HyperRNNState._fields
    native: ClassVar[LayerOp | None] = native_rnn

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        generation: str = "scale",
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
        init: str = "default",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_choice("generation", generation, GENERATIONS)
        check_sizes(hyper_embedding_size=hyper_embedding_size)
        shared: dict[str, Any] = {
            "layer_norm": layer_norm,
            "layer_norm_eps": layer_norm_eps,
            "recurrent_dropout": recurrent_dropout,
            "device": device,
            "dtype": dtype,
        }
        main = (
            RNNCell(input_size, hidden_size, **shared)
            if generation == "scale"
            else MixedRNNCell(input_size, hidden_size, hyper_embedding_size, **shared)
        )
        super().__init__(
            main,
            Blocks(h=1, x=1, b=1),
            scales_rows=generation == "scale",
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            init=init,
            device=device,
            dtype=dtype,
        )
        self.generation = generation

    def scales(self, z: Tensor, weights: HyperWeights) -> Any:
        """Row scales, or with generation="full" what the Z matrices are mixed with."""
        if self.scales_rows:
            return row_scales(z, weights)
        z_h, z_x, z_b = z
        return Mixture(z_h, z_x, z_b @ weights.projections.D[0])

    def shown_settings(self) -> dict[str, Any]:
        """Those of all cells, and the generation."""
        return super().shown_settings() | {"generation": self.generation}


class HyperRNN(HyperRecurrentNetwork[HyperRNNCell]):
    """A multi-layer RNN whose weights a hyper cell generates at every time step; called like torch.nn.LSTM.

    In each layer a layer-normalised LSTM that reads [x_t; h_{t-1}] gives z_a = P_a ĥ_t + p_a for a of h, x, b. With
    generation="scale" z scales the rows of the matrices, d_a = D_a z_a, and with "full" it gives the whole matrices, with Z
    times the memory and products:

        h_t = drop(tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b)))         "scale"
        h_t = drop(tanh(LN(<W_hz, z_h> h_{t-1} + <W_xz, z_x> x_t + D_b z_b + b))) "full"

    It is called as follows:

        output, state = rnn(input)            # input (T, B, I), (T, I) or packed
        output, state = rnn(input, state)     # HyperRNNState, (layers·directions, B, ·)

    Arguments that are not listed are those of `HyperLSTM`.

    Args:
        generation: "scale" (default) or "full".
        recurrent_dropout: probability of dropping a value of h_t, drawn again at each step. It acts on the state itself: a
            plain RNN has no other memory.

    Example:
        >>> rnn = hn.HyperRNN(10, 20, hyper_size=8)
        >>> output, state = rnn(torch.randn(5, 3, 10))
        >>> output.shape
        torch.Size([5, 3, 20])

    Source: HyperNetworks, arXiv 1609.09106, sections 3.2 and A.2.1, with an LSTM as the hyper cell.

    Raises:
        ValueError or TypeError: naming the argument, the value and what was expected.
    """

    cell_type = HyperRNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        generation: str = "scale",
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
            generation=generation,
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
            init=init,
            device=device,
            dtype=dtype,
        )
