"""Record what a hyper network does at every step: its states, and the scales, gates and weight changes that follow from them.

The network runs its own steps once, by a stepper where it can, and the state after each step is kept. Everything else is then
computed for all steps at once: z and d from ĥ_t (scales.py), and the gates from the products on x_t and h_{t-1} and from z, by
the function that the step itself calls.

T time, B batch, N rows of all time steps, G gates, H hidden, K hyper hidden, Z embedding. Shapes are given for an input
(T, B, I). For (B, T, I), (T, I) or a PackedSequence every tensor over time has the layout of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from hypernetworks.analysis.gates import gates_at
from hypernetworks.analysis.relative import relative
from hypernetworks.analysis.scales import change_metric, scales_of, weight_change, weight_norm
from hypernetworks.recurrent.backend import native_serves, undisturbed
from hypernetworks.recurrent.cell import RecurrentCell
from hypernetworks.recurrent.hyper import HyperRecurrentCell, HyperRecurrentNetwork
from hypernetworks.recurrent.layer import SequenceRows
from hypernetworks.recurrent.sequence import StepStates, TimeSteps
from hypernetworks.torch_compat import HOOKS

Series = Tensor | PackedSequence
"""Values over time, in the layout of the network's input."""


class LayerTrace(NamedTuple):
    """The trace of one layer in one direction. In a backward layer the previous step is that of time t + 1.

    Example:
        >>> layer = hn.trace(hn.HyperLSTM(3, 5), torch.randn(7, 2, 3)).layers[0]
        >>> layer.gate_names
        ('i', 'f', 'g', 'o')
        >>> layer.relative.shape  # time, batch, gates
        torch.Size([7, 2, 4])
    """

    layer: int
    direction: int
    """0 for forward, 1 for backward."""
    gate_names: tuple[str, ...]
    """i, f, g, o for HyperLSTM; r, u, n for HyperGRU; h for HyperRNN; h1, t1, h2, t2, … for HyperRHN."""
    state: Any
    """The state after each step, of the type of the network's state: h and c (T, B, H), hyper_h and hyper_c (T, B, K)."""
    gates: Series
    """The gates and candidates after σ and tanh, (T, B, G, H)."""
    z: Series
    """The embeddings of all blocks, those of h, x and b concatenated: (T, B, blocks, Z)."""
    d_h: Series | None
    """(T, B, blocks of h, H): scales the rows of W_h. None if whole matrices are generated from z."""
    d_x: Series | None
    """(T, B, blocks of x, H): scales the rows of W_x. None if whole matrices are generated from z."""
    d_b: Series
    """(T, B, blocks of b, H): the shift added to b."""
    change: Series
    """(T, B, G): how much each W_h changed since the previous step, see `weight_change`. The first step is compared with the
    weights that the initial state's ĥ would generate."""
    norm: Series
    """(T, B, G): the norm of each W_h at the step, see `weight_norm`."""
    relative: Series
    """(T, B, G): change over the larger of the norms before and after the step, from 0 to 2, as `RelativeChange` has it."""


class Trace(NamedTuple):
    """The result of `trace`.

    Example:
        >>> result = hn.trace(hn.HyperLSTM(3, 5, num_layers=2), torch.randn(7, 2, 3))
        >>> result.output.shape, len(result.layers)
        (torch.Size([7, 2, 5]), 2)
    """

    output: Series
    """The network's output."""
    state: Any
    """The network's state after the last step."""
    layers: tuple[LayerTrace, ...]
    """One trace per layer and direction, in the order of network.cells."""


@torch.no_grad()
def trace(network: HyperRecurrentNetwork[Any], input: Tensor | PackedSequence, state: Any = None) -> Trace:
    """Run a hyper network and record every step: states, gates, embeddings, scales and weight changes.

    The network runs its own steps without gradients: by a stepper where the native path serves a plain batch and one
    direction, else on the reference path, or on the compiled path if that is selected.

    Args:
        network: a HyperLSTM, HyperGRU, HyperRNN or HyperRHN. Call its `eval()` first if it has dropout.
        input, state: the arguments of the network's own call.

    Raises:
        TypeError: `network` is not a hyper network.
        ValueError: the network is in training mode and has dropout, or the network itself refuses the input or state.

    Source: HyperNetworks, arXiv 1609.09106, figure 4 (weight changes over text).

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> trace = hn.trace(rnn, torch.randn(7, 2, 3))
        >>> trace.layers[0].change.shape                # time, batch, gates: how much W_h^i, W_h^f, W_h^g, W_h^o changed
        torch.Size([7, 2, 4])
    """
    if not isinstance(network, HyperRecurrentNetwork):
        raise TypeError(
            f"network should be a HyperLSTM, HyperGRU, HyperRNN or HyperRHN, got {type(network).__name__}: "
            "other networks generate no weights"
        )
    _check_no_dropout(network)
    rows = network.rows(input)
    initial = network.initial_state(state, rows)
    runs = _runs_of_stepper(network, rows, initial)
    if runs is None:
        runs, output, final = _runs_of_cells(network, rows, state)
    else:
        output, final = runs[-1].after[0], network.final_state([run.last(rows.steps.batch) for run in runs], rows)
    layers = tuple(run.trace(*divmod(k, network.directions), rows) for k, run in enumerate(runs))
    return Trace(rows.in_form_of_input(output), final, layers)


def _runs_of_stepper(
    network: HyperRecurrentNetwork[Any], rows: SequenceRows, initial: Sequence[Tensor]
) -> "list[_LayerRun] | None":
    """Run each time step of all layers by one call of a kernel; None where that does not serve.

    A stepper reads one way, has the same rows in every step, runs no hooks, and needs ordinary tensors.
    """
    hooked = any(getattr(module, name) for module in network.modules() for name in HOOKS)
    if hooked or network.bidirectional or rows.packed is not None or rows.steps.batch == 0:
        return None
    if not (undisturbed() and native_serves((rows.data, *initial))):
        return None
    with network.stepper(rows.steps.batch) as step:
        if not step.native:
            return None
        cell, states = network.cell(0), [initial]
        step.state = cell.named_state(initial)
        for x in rows.data.split(rows.steps.batch):
            step(x)
            states.append(cell.state_tensors(step.state))
    runs, x = [], rows.data
    over_time = [torch.stack(same) for same in zip(*states, strict=True)]  # (T + 1, L, B, ·)
    for layer, cell in enumerate(network.cells):
        before = [part[:-1, layer].flatten(0, 1) for part in over_time]
        after = [part[1:, layer].flatten(0, 1) for part in over_time]
        runs.append(_LayerRun(cast(HyperRecurrentCell, cell), x, before, after))
        x = after[0]
    return runs


def _runs_of_cells(
    network: HyperRecurrentNetwork[Any], rows: SequenceRows, state: Any
) -> "tuple[list[_LayerRun], Tensor, Any]":
    """Run each layer by a call of its cell, on the reference path or the compiled one: the runs, the output, the state."""
    runs: list[_LayerRun] = []

    def record(cell: RecurrentCell, x: Tensor, initial: Any, steps: TimeSteps) -> tuple[Tensor, Any]:
        history: list[StepStates] = []
        output, final = cell(x, initial, steps, history)
        before, after = (
            [torch.cat(parts) for parts in zip(*states, strict=True)] for states in zip(*history, strict=True)
        )
        runs.append(_LayerRun(cast(HyperRecurrentCell, cell), x, before, after))
        return output, final

    output, final = network.run(rows, state, record)
    return runs, output, final


def _check_no_dropout(network: HyperRecurrentNetwork[Any]) -> None:
    drops = network.dropout > 0 or network.cell(0).recurrent_dropout > 0
    if network.training and drops:
        raise ValueError("network should be in eval() mode: with dropout every run differs")


@dataclass(frozen=True)
class _LayerRun:
    """One layer in one direction after its run: the input (N, I), and the states before and after each row's step, (N, ·)."""

    cell: HyperRecurrentCell
    x: Tensor
    before: Sequence[Tensor]
    after: Sequence[Tensor]

    def last(self, batch: int) -> Sequence[Tensor]:
        """The state after the last step, each (B, ·)."""
        return [part[-batch:] for part in self.after]

    def trace(self, layer: int, direction: int, rows: SequenceRows) -> LayerTrace:
        """Compute the trace from the recorded states."""
        cell = self.cell
        scales = scales_of(cell, self.after[-2])
        metric = change_metric(cell)
        earlier = scales_of(cell, self.before[-2])
        change = weight_change(cell, earlier, scales, metric)
        norms = [weight_norm(cell, generated, metric) for generated in (earlier, scales)]

        def over_time(blocks: Tensor) -> Series:
            return rows.in_form_of_input(blocks.movedim(0, 1).contiguous())

        return LayerTrace(
            layer=layer,
            direction=direction,
            gate_names=cell.main.gate_names,
            state=cell.named_state([cast(Tensor, rows.in_form_of_input(part)) for part in self.after]),
            gates=over_time(gates_at(cell, self.x, self.before[0], scales.z)),
            z=over_time(scales.z),
            d_h=None if scales.d_h is None else over_time(scales.d_h),
            d_x=None if scales.d_x is None else over_time(scales.d_x),
            d_b=over_time(scales.d_b),
            change=over_time(change),
            norm=over_time(norms[1]),
            relative=over_time(relative(change, *norms)),
        )
