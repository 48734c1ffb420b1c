"""The generic hyper network: a plain network whose rows a small LSTM, the hyper cell, scales at every time step.

    ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})             the hyper cell, of size K
    z_a      = P_a ĥ_t + p_a                                      Z numbers for each block a; no p for a = b
    d_a      = D_a z_a                                            H numbers, no bias

A block is a row block of the main network: for HyperLSTM there is one for each gate, in each of W_h, W_x and b. The step of
every hyper network is here, once: the products on h, the hyper cell, the scales, and the step of the main network with them.

B batch, N rows of all time steps, I input, H hidden, K hyper hidden, Z embedding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cell import PlainCell, RecurrentCell, gates_first, named_tensors, part
from .checks import check_choice, check_floating, check_sizes
from .hooks import ParameterHolder
from .init import embedding_, scale_
from .layer import RecurrentNetwork
from .lstm import LSTMCell, LSTMWeights
from .scales import Scales
from .sequence import NativeParameters

SCHEMES = ("default", "paper")


class Blocks(NamedTuple):
    """How many row blocks of W_h, of W_x and of b are scaled."""

    h: int
    x: int
    b: int


class Projections(NamedTuple):
    """What turns ĥ into the scales."""

    blocks: Blocks
    P: Tensor
    """(blocks·Z, K)."""
    p: Tensor
    """(blocks·Z,), zero for b."""
    D: Tensor
    """(Z-to-H maps, Z, H), transposed."""


class HyperCell(ParameterHolder):
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
        scales_rows: bool,
        layer_norm: bool,
        layer_norm_eps: float,
        init: str,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(hyper_size=hyper_size, hyper_embedding_size=embedding_size)
        check_choice("init", init, SCHEMES)
        check_floating(dtype)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.blocks = blocks
        self.init = init
        self.lstm: LSTMCell = LSTMCell(
            input_size + hidden_size, hyper_size, layer_norm=layer_norm, layer_norm_eps=layer_norm_eps, **made
        )
        self.P = nn.Parameter(torch.empty(sum(blocks), embedding_size, hyper_size, **made))
        self.p: nn.Parameter = nn.Parameter(torch.empty(blocks.h + blocks.x, embedding_size, **made))
        scaled = sum(blocks) if scales_rows else blocks.b
        self.D = nn.Parameter(torch.empty(scaled, hidden_size, embedding_size, **made))
        self._reset()

    def reset_parameters(self) -> None:
        """Initialise all parameters, with the numbers that a new hyper cell would have at the same seed."""
        self.lstm.reset_parameters()  # as the constructor of the LSTM does
        self._reset()

    def _reset(self) -> None:
        self.lstm.reset_parameters()
        embedding_(self.P, self.p, self.init)
        scale_(self.D, self.blocks.b)

    def projections(self) -> Projections:
        """P, p and D, gathered once per call."""
        P, p = self.P.flatten(0, 1), self.p.flatten()
        return Projections(self.blocks, P, F.pad(p, (0, P.shape[0] - p.shape[0])), self.D.mT)

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        blocks, Z, K = self.P.shape
        init = "" if self.init == "default" else f", init={self.init!r}"
        return f"hyper_size={K}, embedding_size={Z}, blocks={blocks}{init}"


class HyperWeights(NamedTuple):
    """The parameters of one layer of a hyper network, as its steps need them."""

    x: Tensor
    """[W_x; Ŵ_x], (·, I): main and hyper cell share the product on x."""
    x_bias: Tensor | None
    """[0; b̂]: the main b is added after the scaling."""
    h: Tensor
    """[W_h; Ŵ_h], (·, H): main and hyper cell share the product on h."""
    x_rows: tuple[int, int]
    """How many rows of x belong to the main network, and how many to the hyper cell."""
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


def row_scales(z: Tensor, weights: HyperWeights) -> Scales:
    """What the main step is scaled with, from the embeddings z (blocks, B, Z)."""
    d_h, d_x, d_b = generated_scales(z, weights.projections)
    return Scales(d_h, d_x, d_b + weights.b)


class HyperRecurrentCell(RecurrentCell):
    """A plain cell `main` whose rows the hyper cell `hyper` scales. A subclass makes `main`, and names state and kernel."""

    def __init__(
        self,
        main: PlainCell,
        blocks: Blocks,
        *,
        scales_rows: bool = True,
        hyper_size: int,
        hyper_embedding_size: int,
        layer_norm: bool,
        layer_norm_eps: float,
        init: str,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(main.input_size, main.hidden_size)
        self.main = main
        self.scales_rows = scales_rows
        """False if the whole matrices of the main network are generated, and D is for b alone."""
        self.hyper: HyperCell = HyperCell(
            main.input_size,
            main.hidden_size,
            hyper_size,
            hyper_embedding_size,
            blocks,
            scales_rows=scales_rows,
            layer_norm=layer_norm,
            layer_norm_eps=layer_norm_eps,
            init=init,
            device=device,
            dtype=dtype,
        )
        self._state_sizes = (*main.state_sizes, *self.hyper.lstm.state_sizes)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Widths of the main network's state, then of ĥ and ĉ."""
        return self._state_sizes

    @property
    def candidate_size(self) -> int:
        """The main network's: the hyper cell has no dropout."""
        return self.main.candidate_size

    @property
    def recurrent_dropout(self) -> float:
        """The main network's."""
        return self.plain.recurrent_dropout

    @recurrent_dropout.setter
    def recurrent_dropout(self, probability: float) -> None:
        self.main.recurrent_dropout = probability

    @property
    def plain(self) -> PlainCell:
        """The main network."""
        return part(self, "main")

    def reset_parameters(self) -> None:
        """Initialise all parameters."""
        self.main.reset_parameters()
        self.hyper.reset_parameters()

    def weights(self) -> HyperWeights:
        """The parameters, gathered once per call."""
        main, hyper = self.main.weights(), self.hyper.lstm.weights()
        W_x, W_h, b = main.weight_x, main.weight_h, self.main.bias
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
            main=main,
            hyper=hyper,
            projections=self.hyper.projections(),
            b=b.view(-1, 1, self.hidden_size),
        )

    def project(self, x: Tensor, weights: HyperWeights) -> tuple[Tensor, Tensor]:
        """W_x x, (G, N, H), and Ŵ_x x + b̂, (4, N, K), for all rows from one product."""
        main, hyper = F.linear(x, weights.x, weights.x_bias).split(weights.x_rows, dim=1)
        return gates_first(main, weights.gates[0]), gates_first(hyper, 4)

    def advance(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: HyperWeights, mask: Tensor | None
    ) -> tuple[Tensor, ...]:
        """One step from the projected input (W_x x_t, Ŵ_x x_t + b̂) and the state (main network's, ĥ, ĉ)."""
        wx, hyper_wx = inputs
        *own, hyper_h, hyper_c = state
        # W_h h_{t-1} and Ŵ_h h_{t-1}
        wh, hyper_wh = products_on_h(own[0], weights)
        # ĥ_t, ĉ_t = LSTM([x_t; h_{t-1}], ĥ_{t-1}, ĉ_{t-1})
        recurrent = gates_first(F.linear(hyper_h, weights.hyper.weight_h), 4)
        hyper_h, hyper_c = self.hyper.lstm.step(hyper_wx + hyper_wh, recurrent, (hyper_h, hyper_c), weights.hyper, None)
        # z_a = P_a ĥ_t + p_a;  d_a = D_a z_a
        scales = self.scales(embeddings(hyper_h, weights.projections), weights)
        return *self.main.step(wx, wh, own, weights.main, mask, scales), hyper_h, hyper_c

    def scales(self, z: Tensor, weights: HyperWeights) -> Any:
        """What the main network's step is scaled with, from the embeddings z (blocks, B, Z)."""
        return row_scales(z, weights)

    def gates(self, wx: Tensor, wh: Tensor, h: Tensor, z: Tensor, weights: HyperWeights) -> tuple[Tensor, ...]:
        """The main network's gates and candidates, each (N, H), from its products, h_{t-1} and z, before dropout."""
        return self.main.gates(wx, wh, h, weights.main, self.scales(z, weights))

    def has_own_equations(self) -> bool:
        """The same of the main network and of the LSTM of the hyper cell."""
        if super().has_own_equations():
            return True
        return part(self, "main").has_own_equations() or part(part(self, "hyper"), "lstm").has_own_equations()

    def native_parameters(self) -> NativeParameters | None:
        """Those of the main network, those of the hyper cell's LSTM with `hyper_` before their names, and P, p and D."""
        main, hyper = part(self, "main"), part(self, "hyper")
        lstm = part(hyper, "lstm")
        if main.native is not self.native or lstm.native is not LSTMCell.native:
            return None
        of_main, of_lstm = main.native_parameters(), lstm.native_parameters()
        if of_main is None or of_lstm is None:
            return None
        (weights, (eps,)), (hyper_weights, (hyper_eps,)) = of_main, of_lstm
        if eps and hyper_eps and eps != hyper_eps:  # the kernels have one ε; it is 0 without a norm
            return None
        of_hyper = {f"hyper_{name}": tensor for name, tensor in hyper_weights.items()}
        return {**weights, **of_hyper, **named_tensors(hyper, "P", "p", "D")}, (eps or hyper_eps,)


Cell = TypeVar("Cell", bound=HyperRecurrentCell)


class HyperRecurrentNetwork(RecurrentNetwork[Cell]):
    """The layers and directions of a hyper network."""
