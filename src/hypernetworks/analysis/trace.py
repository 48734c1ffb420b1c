"""What a hyper network did at every step: its states, and the scales, gates and weight changes that follow from them.

The network runs its own steps, once, and the states of each are kept. All else follows from these at once for all steps:
z and d from ĥ_t (scales.py), the gates from the products on x_t and h_{t-1} and z, by the function that the step calls.

T time, B batch, N rows of all time steps, G gates, H hidden, K hyper hidden, Z embedding. Shapes below are for an input
(T, B, I); for (B, T, I), (T, I) or a PackedSequence every tensor over time has that form instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from hypernetworks.recurrent.cell import RecurrentCell, Steps, StepStates, run_steps
from hypernetworks.recurrent.hyper import HyperRecurrentCell, HyperRecurrentNetwork, products_on_h
from hypernetworks.recurrent.layer import Rows

from .scales import scales_of, weight_change

Series = Tensor | PackedSequence
"""Values over time, in the form of the network's input."""


class LayerTrace(NamedTuple):
    """One layer in one direction, over time. For a layer that reads backwards, "before" is the step of time t + 1."""

    layer: int
    direction: int
    """0, or 1 for the one that reads backwards."""
    gate_names: tuple[str, ...]
    """i, f, g, o for HyperLSTM; r, u, n; h; h1, t1, h2, t2 … for HyperRHN."""
    state: Any
    """The states after each step, as the network's state: h and c (T, B, H), hyper_h and hyper_c (T, B, K)."""
    gates: Series
    """The gates and candidates, (T, B, G, H), σ and tanh applied."""
    z: Series
    """The embeddings, (T, B, blocks of h, x and b together, Z)."""
    d_h: Series | None
    """(T, B, blocks of h, H): scales the rows of W_h. None where whole matrices are made of z."""
    d_x: Series | None
    """(T, B, blocks of x, H): scales the rows of W_x. None where whole matrices are made of z."""
    d_b: Series
    """(T, B, blocks of b, H): the shift that is added to b."""
    change: Series
    """(T, B, G): how much each W_h changed since the step before, see `weight_change`; at the first, since what the initial
    state's ĥ would make."""


class Trace(NamedTuple):
    """What `trace` gives."""

    output: Series
    """The network's output."""
    state: Any
    """The network's state after the last step."""
    layers: tuple[LayerTrace, ...]
    """A trace for each layer and direction, in the order of network.cells."""


@torch.no_grad()
def trace(network: HyperRecurrentNetwork, input: Tensor | PackedSequence, state: Any = None) -> Trace:
    """Run a hyper network and tell what it did at every step: states, gates, embeddings, scales and weight changes.

        trace = hn.trace(rnn, input)
        trace.layers[0].change[:, 0]        # (T, 4): how much W_h^i, W_h^f, W_h^g and W_h^o changed, first sequence

    The steps are the network's own, on the reference path (or the compiled one, where that is asked for), without gradients.

    Args:
        network: HyperLSTM, HyperGRU, HyperRNN or HyperRHN, as it predicts: in eval() where it has dropout.
        input, state: as the network takes them.

    Source: HyperNetworks, arXiv 1609.09106, figure 4 (weight changes over text).
    Errors: TypeError for another module; ValueError for a network that is dropping, and what the network itself raises.
    """
    if not isinstance(network, HyperRecurrentNetwork):
        raise TypeError(
            f"network should be a HyperLSTM, HyperGRU, HyperRNN or HyperRHN, got {type(network).__name__}: "
            "other networks generate no weights"
        )
    _check_dropping_nothing(network)
    runs: list[_LayerRun] = []

    def record(
        cell: RecurrentCell, x: Tensor, steps: Steps, initial: Sequence[Tensor], reverse: bool
    ) -> tuple[Tensor, Sequence[Tensor]]:
        history: list[StepStates] = []
        output, final = run_steps(cell, x, steps, initial, reverse, None, history)
        before, after = (
            [torch.cat(parts) for parts in zip(*states, strict=True)] for states in zip(*history, strict=True)
        )
        runs.append(_LayerRun(cast(HyperRecurrentCell, cell), x, before, after))
        return output, final

    rows = network.rows(input)
    output, final = network.run(rows, state, record)
    layers = tuple(run.trace(*divmod(k, network.directions), rows) for k, run in enumerate(runs))
    return Trace(rows.in_form_of_input(output), final, layers)


def _check_dropping_nothing(network: HyperRecurrentNetwork) -> None:
    drops = network.dropout > 0 or network.cell(0).recurrent_dropout > 0
    if network.training and drops:
        raise ValueError("network should be in eval(): in training its dropout makes every run another")


@dataclass(frozen=True)
class _LayerRun:
    """One layer in one direction, after it was run: its input (N, I) and the states around each row's step, (N, ·)."""

    cell: HyperRecurrentCell
    x: Tensor
    before: Sequence[Tensor]
    after: Sequence[Tensor]

    def trace(self, layer: int, direction: int, rows: Rows) -> LayerTrace:
        """All that follows from the states."""
        cell, weights = self.cell, self.cell.weights()
        h, hyper_h = self.before[0], self.after[-2]
        scales = scales_of(cell, hyper_h)
        gates = cell.gates(cell.project(self.x, weights)[0], products_on_h(h, weights)[0], h, scales.z, weights)

        def over_time(blocks: Tensor) -> Series:
            return rows.in_form_of_input(blocks.movedim(0, 1).contiguous())

        return LayerTrace(
            layer=layer,
            direction=direction,
            gate_names=cell.main.gate_names,
            state=cell.named_state([cast(Tensor, rows.in_form_of_input(part)) for part in self.after]),
            gates=over_time(torch.stack(tuple(gates))),
            z=over_time(scales.z),
            d_h=None if scales.d_h is None else over_time(scales.d_h),
            d_x=None if scales.d_x is None else over_time(scales.d_x),
            d_b=over_time(scales.d_b),
            change=over_time(weight_change(cell, scales_of(cell, self.before[-2]), scales)),
        )
