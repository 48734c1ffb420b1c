"""The hyper cell: a small layer-normalised LSTM that reads [x; h] and makes the scales of the main network's rows.

    ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})             of size K
    z_a      = P_a ĥ_t + p_a                                      Z numbers for each block a; no p for a = b
    d_a      = D_a z_a                                            H numbers, no bias

A block is a row block of the main network: for HyperLSTM one for each gate, and that for each of W_h, W_x and b.
Every hyper network here is a plain network beside one such cell, and its step is three lines: the products on h, the hyper
step, the plain step with the scales.

B batch, N rows of all time steps, I input, H hidden, K hyper hidden, Z embedding.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import PlainCell, RecurrentCell, gates_first
from .checks import check_choice, check_floating, check_known, check_sizes
from .init import embedding_, scale_
from .layer import RecurrentNetwork
from .lstm import LSTMCell, LSTMWeights, lstm_step
from .scales import Scales

SCHEMES = ("default", "paper")


class Blocks(NamedTuple):
    """How many row blocks of W_h, of W_x and of b are scaled."""

    h: int
    x: int
    b: int


class Projections(NamedTuple):
    """What leads from ĥ to the scales."""

    blocks: Blocks
    P: Tensor
    """(blocks·Z, K)."""
    p: Tensor
    """(blocks·Z,), zero for b."""
    D: Tensor
    """(Z-to-H maps, Z, H), transposed."""


class HyperCell(nn.Module):
    """Holds the parameters of a hyper cell: its LSTM, P (blocks, Z, K), p and D (blocks, H, Z).

    Blocks are in the order h, x, b. With scales_rows=False (whole matrices are generated) there is a D for b alone.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        hyper_size: int,
        embedding_size: int,
        blocks: Blocks,
        *,
        scales_rows: bool = True,
        layer_norm: bool,
        layer_norm_eps: float,
        init: str,
        device=None,
        dtype=None,
    ) -> None:
        super().__init__()
        check_choice("init", init, SCHEMES)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.blocks = blocks
        self.init = init
        self.lstm = LSTMCell(
            input_size + hidden_size, hyper_size, layer_norm=layer_norm, layer_norm_eps=layer_norm_eps, **made
        )
        self.P = nn.Parameter(torch.empty(sum(blocks), embedding_size, hyper_size, **made))
        self.p = nn.Parameter(torch.empty(blocks.h + blocks.x, embedding_size, **made))
        scaled = sum(blocks) if scales_rows else blocks.b
        self.D = nn.Parameter(torch.empty(scaled, hidden_size, embedding_size, **made))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.lstm.reset_parameters()
        embedding_(self.P, self.p, self.init)
        scale_(self.D, self.blocks.b)

    def projections(self) -> Projections:
        """P, p and D, put together once per call."""
        P, p = self.P.flatten(0, 1), self.p.flatten()
        return Projections(self.blocks, P, F.pad(p, (0, P.shape[0] - p.shape[0])), self.D.mT)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        blocks, Z, K = self.P.shape
        return f"hyper_size={K}, embedding_size={Z}, blocks={blocks}"


class HyperWeights(NamedTuple):
    """The parameters of one layer of a hyper network, as its steps need them."""

    x: Tensor
    """[W_x; Ŵ_x], (·, I): main and hyper cell share the product on x."""
    x_bias: Tensor | None
    """[0; b̂]: the main b is added after the scaling."""
    h: Tensor
    """[W_h; Ŵ_h], (·, H): main and hyper cell share the product on h."""
    x_rows: tuple[int, int]
    """How many rows of x are the main network's, and how many the hyper cell's."""
    h_rows: tuple[int, int]
    """The same of h."""
    gates: tuple[int, int]
    """How many blocks of H the main network has in x and in h."""
    main: Any
    """The main cell's own weights()."""
    hyper: LSTMWeights
    projections: Projections
    b: Tensor
    """(blocks of b, 1, H): the main network's own bias."""


def products_on_h(h: Tensor, weights: HyperWeights) -> tuple[Tensor, Tensor]:
    """W_h h, (G, B, H), and Ŵ_h h, (4, B, K), from one product."""
    main, hyper = F.linear(h, weights.h).split(weights.h_rows, dim=1)
    return gates_first(main, weights.gates[1]), gates_first(hyper, 4)


def embeddings(hyper_h: Tensor, projections: Projections) -> Tensor:
    """The embeddings z (blocks, B, Z) that ĥ (B, K) makes."""
    # z_a = P_a ĥ_t + p_a
    return gates_first(F.linear(hyper_h, projections.P, projections.p), sum(projections.blocks))


def generated_scales(z: Tensor, projections: Projections) -> tuple[Tensor, Tensor, Tensor]:
    """d_h, d_x and d_b, each (blocks, B, H), from the embeddings z (blocks, B, Z): one batched product."""
    # d_a = D_a z_a
    d_h, d_x, d_b = torch.bmm(z, projections.D).split(projections.blocks)
    return d_h, d_x, d_b


def hyper_step(
    hyper_wx: Tensor, hyper_wh: Tensor, hyper_h: Tensor, hyper_c: Tensor, weights: HyperWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """ĥ_t, ĉ_t and the embeddings z (blocks, B, Z), from Ŵ_x x_t + b̂ and Ŵ_h h_{t-1}, each (4, B, K)."""
    # ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})
    recurrent = gates_first(F.linear(hyper_h, weights.hyper.weight_h), 4)
    hyper_h, hyper_c = lstm_step(hyper_wx + hyper_wh, recurrent, hyper_c, weights.hyper, None)
    return hyper_h, hyper_c, embeddings(hyper_h, weights.projections)


def row_scales(z: Tensor, weights: HyperWeights) -> Scales:
    """What the main step is scaled with, from the embeddings z (blocks, B, Z)."""
    d_h, d_x, d_b = generated_scales(z, weights.projections)
    return Scales(d_h, d_x, d_b + weights.b)


class HyperRecurrentCell(RecurrentCell):
    """A plain cell `main` whose rows the hyper cell `hyper` scales: what all hyper networks share.

    main.matrices() gives W_x, the part of W_h that meets h_{t-1}, and b.
    """

    own_settings: ClassVar[tuple[str, ...]] = ()
    """The settings of a subclass's main network, besides those that all share."""

    scales_rows = True
    """False where the main network's whole matrices are made of z, and D is for b alone."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        recurrent_dropout: float = 0.0,
        init: str = "default",
        device=None,
        dtype=None,
        **of_main: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, recurrent_dropout)
        check_known(type(self).__name__, of_main, self.own_settings)
        check_sizes(hyper_size=hyper_size, hyper_embedding_size=hyper_embedding_size)
        shared: dict[str, Any] = {
            "layer_norm": layer_norm,
            "layer_norm_eps": layer_norm_eps,
            "device": device,
            "dtype": dtype,
        }
        self.main, blocks = self.make_main(
            hyper_embedding_size, recurrent_dropout=recurrent_dropout, **shared, **of_main
        )
        self.hyper = HyperCell(
            input_size,
            hidden_size,
            hyper_size,
            hyper_embedding_size,
            blocks,
            scales_rows=self.scales_rows,
            init=init,
            **shared,
        )
        self._state_sizes = (*self.main.state_sizes, *self.hyper.lstm.state_sizes)

    @abstractmethod
    def make_main(self, embedding_size: int, **settings: Any) -> tuple[PlainCell, Blocks]:
        """The main network of a cell with these settings, and how many of its row blocks have an embedding z."""

    @abstractmethod
    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> Sequence[Tensor]:
        """The gates and candidates, each (N, H), that the step takes from these products, h_{t-1} and z, before dropout."""

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Widths of the main network's state, then of ĥ and ĉ."""
        return self._state_sizes

    @property
    def candidate_size(self) -> int:
        """The main network's: the hyper cell has no dropout."""
        return self.main.candidate_size

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.main.reset_parameters()
        self.hyper.reset_parameters()

    def weights(self) -> HyperWeights:
        """The parameters, put together once per call."""
        W_x, W_h, b = self.main.matrices()
        hyper = self.hyper.lstm.weights()
        hyper_W_x, hyper_W_h = hyper.weight_x.split((self.input_size, self.hidden_size), dim=1)
        assert b is not None  # main and hyper cell are made with biases
        assert hyper.bias is not None
        return HyperWeights(
            x=torch.cat((W_x, hyper_W_x)),
            x_bias=F.pad(hyper.bias, (W_x.shape[0], 0)),
            h=torch.cat((W_h, hyper_W_h)),
            x_rows=(W_x.shape[0], hyper_W_x.shape[0]),
            h_rows=(W_h.shape[0], hyper_W_h.shape[0]),
            gates=(W_x.shape[0] // self.hidden_size, W_h.shape[0] // self.hidden_size),
            main=self.main.weights(),
            hyper=hyper,
            projections=self.hyper.projections(),
            b=b.view(-1, 1, self.hidden_size),
        )

    def project(self, x: Tensor, weights: HyperWeights) -> tuple[Tensor, Tensor]:
        """W_x x, (G, N, H), and Ŵ_x x + b̂, (4, N, K), for all rows from one product."""
        main, hyper = F.linear(x, weights.x, weights.x_bias).split(weights.x_rows, dim=1)
        return gates_first(main, weights.gates[0]), gates_first(hyper, 4)


Cell = TypeVar("Cell", bound=HyperRecurrentCell)


class HyperRecurrentNetwork(RecurrentNetwork[Cell]):
    """The layers and directions of a hyper network: one signature for all of them. A subclass names its cell."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        hyper_size: int = 128,
        hyper_embedding_size: int = 16,
        layer_norm: bool = True,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        bidirectional: bool = False,
        init: str = "default",
        device=None,
        dtype=None,
        **of_cell: Any,
    ) -> None:
        check_known(type(self).__name__, of_cell, self.cell_type.own_settings)
        make_cell = partial(
            self.cell_type,
            hidden_size=hidden_size,
            hyper_size=hyper_size,
            hyper_embedding_size=hyper_embedding_size,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            recurrent_dropout=recurrent_dropout,
            init=init,
            device=device,
            dtype=dtype,
            **of_cell,
        )
        super().__init__(
            cast(Callable[[int], Cell], make_cell),
            input_size,
            hidden_size,
            num_layers,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
        )
