"""HyperRNN: the basic recurrent network with generated weights, in the paper's two forms.

    ĥ_t = LSTM([x_t; h_{t-1}])                                        the hyper cell: hyper.py
    z_a = P_a ĥ_t + p_a                                               for a of h, x, b (no p for b)

    generation "full":   W_h(z_h) = <W_hz, z_h> = Σ_k z_h[k] W_hz[k],  W_x(z_x) likewise,  b(z_b) = D_b z_b + b
                         h_t = drop(tanh(LN(W_h(z_h) h_{t-1} + W_x(z_x) x_t + b(z_b))))
    generation "scale":  d_a = D_a z_a
                         h_t = drop(tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b)))

Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, sections 3.2 and A.2.1. "full" needs Z matrices where "scale" needs one,
which is why the paper goes on with rows. The paper's hyper cell there is a plain RNN; here it is the LSTM that all hyper
networks share.

B batch, I input, H hidden, K hyper hidden, Z embedding.  W_hz (Z·H, H), W_xz (Z·H, I): Z matrices, one below the other.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .cell import detach
from .checks import check_choice
from .hyper import (
    Blocks,
    HyperRecurrentCell,
    HyperRecurrentNetwork,
    HyperWeights,
    hyper_step,
    products_on_h,
    row_scales,
)
from .native.rnn import rnn as native_rnn
from .rnn import RNNCell, rnn_step
from .scales import scaled_sum

GENERATIONS = ("scale", "full")


class HyperRNNState(NamedTuple):
    """The state of a HyperRNN: h (·, B, H), hyper_h = ĥ and hyper_c = ĉ (·, B, K); · is layers·directions."""

    h: Tensor
    hyper_h: Tensor
    hyper_c: Tensor
    detach = detach


def mixed_sum(wx: Tensor, wh: Tensor, z: Tensor, weights: HyperWeights) -> Tensor:
    """W_h(z_h) h + W_x(z_x) x + b(z_b), (B, H), from the products of all Z matrices: wx[k] = W_xz[k] x, wh[k] = W_hz[k] h.

    <W_hz, z_h> h = Σ_k z_h[k] (W_hz[k] h): the products of the fixed matrices are mixed, no matrix is built per sample.
    """
    z_h, z_x, z_b = z
    generated = torch.einsum("bk,kbh->bh", z_h, wh) + torch.einsum("bk,kbh->bh", z_x, wx)
    return generated + z_b @ weights.projections.D[0] + weights.b[0]


def pre_activation(wx: Tensor, wh: Tensor, z: Tensor, weights: HyperWeights, generation: str) -> Tensor:
    """What LN and tanh are applied to, (B, H)."""
    if generation == "full":
        # W_h(z_h) h_{t-1} + W_x(z_x) x_t + b(z_b)
        return mixed_sum(wx, wh, z, weights)
    # d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b
    return scaled_sum(wx, wh, row_scales(z, weights))[0]


def hyper_rnn_step(
    inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None, generation: str
) -> tuple[Tensor, Tensor, Tensor]:
    """One step from the projected input (W_x x_t or all W_xz[k] x_t, Ŵ_x x_t + b̂) and the state (h, ĥ, ĉ)."""
    wx, hyper_wx = inputs
    h, hyper_h, hyper_c = state
    wh, hyper_wh = products_on_h(h, weights)
    # ĥ_t = LSTM([x_t; h_{t-1}]);  z_a = P_a ĥ_t + p_a
    hyper_h, hyper_c, z = hyper_step(hyper_wx, hyper_wh, hyper_h, hyper_c, weights)
    # h_t = drop(tanh(LN(…)))
    h = rnn_step(pre_activation(wx, wh, z, weights, generation), weights.main, mask)
    return h, hyper_h, hyper_c


class HyperRNNCell(HyperRecurrentCell):
    """One step of a HyperRNN, `h, state = cell(x, state)`, state HyperRNNState(h, hyper_h, hyper_c).

    generation="scale": h_t = drop(tanh(LN(d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b))), d_a = D_a z_a.
    generation="full": h_t = drop(tanh(LN(<W_hz, z_h> h + <W_xz, z_x> x + D_b z_b + b))): the whole matrices are made of z.
    z_a = P_a ĥ_t + p_a from a layer-norm LSTM that reads [x; h].

    x is (B, input_size) or (input_size,). Arguments as for `HyperRNN`. Parameters: `main.weight_x` (H, I) and `main.weight_h`
    (H, H), with "full" (Z·H, I) and (Z·H, H): Z matrices one below the other; `main.bias` (H,); `hyper.lstm`; P (3, Z, K),
    p (2, Z) and D (3, H, Z), with "full" (1, H, Z), of `hyper`.
    Initialisation as for `HyperLSTMCell`; with "full" the Z matrices are orthogonal over √Z, z near 1 at the start.

    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    main: RNNCell
    state_type = HyperRNNState
    state_names = HyperRNNState._fields
    native = native_rnn
    own_settings = ("generation",)

    def __init__(self, input_size: int, hidden_size: int, *, generation: str = "scale", **settings: Any) -> None:
        super().__init__(input_size, hidden_size, generation=generation, **settings)

    def make_main(self, embedding_size: int, *, generation: str, **settings: Any) -> tuple[RNNCell, Blocks]:
        """An RNN, of one matrix whose rows are scaled, or of Z matrices to be mixed."""
        check_choice("generation", generation, GENERATIONS)
        self.generation = generation
        self.scales_rows = generation == "scale"
        matrices = 1 if self.scales_rows else embedding_size
        return RNNCell(self.input_size, self.hidden_size, matrices, **settings), Blocks(h=1, x=1, b=1)

    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
    ) -> Sequence[Tensor]:
        """One time step, see `hyper_rnn_step`."""
        return hyper_rnn_step(inputs, state, weights, mask, self.generation)

    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> Sequence[Tensor]:
        """h_t before dropout: there is no gate beside it."""
        return (rnn_step(pre_activation(wx, wh, z, weights, self.generation), weights.main, None),)

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        return f"{super().extra_repr()}, generation={self.generation!r}"


class HyperRNN(HyperRecurrentNetwork[HyperRNNCell]):
    """A multi-layer RNN whose weights a hyper cell makes at every time step; called as torch.nn.LSTM is called.

    generation="scale" (default): h_t = drop(tanh(LN(d_h ⊙ W_h h_{t-1} + d_x ⊙ W_x x_t + d_b + b))), d_a = D_a z_a.
    generation="full": h_t = drop(tanh(LN(<W_hz, z_h> h_{t-1} + <W_xz, z_x> x_t + D_b z_b + b))), whole matrices made of z:
    Z times the memory and products. z_a = P_a ĥ_t + p_a from a layer-norm LSTM that reads [x; h].

        output, state = rnn(input, state)     # HyperRNNState(h, hyper_h, hyper_c), each (layers·directions, B, ·)

    Args:
        generation: "scale" or "full".
        All others as for `HyperLSTM`. recurrent_dropout acts on h_t itself: a plain RNN has no memory beside it.

    Source: HyperNetworks, arXiv 1609.09106, sections 3.2 and A.2.1, with an LSTM for the hyper cell.
    Errors: ValueError or TypeError that names the argument, what came and what was expected.
    """

    cell_type = HyperRNNCell

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, *, generation: str = "scale", **settings: Any
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, generation=generation, **settings)
