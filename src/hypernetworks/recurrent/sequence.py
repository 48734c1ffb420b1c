"""Running a cell over all time steps of a batch of sequences, natively or step by step.

The rows of all time steps are stored one step after another, as in a PackedSequence: N = Σ_t B_t rows, B_t of them at step t.
For a plain batch B_t = B at every t, so one loop serves both.

B batch, T time, N rows of all time steps, I input, H hidden.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .accelerator import dispatch as accelerator
from .accelerator import steps as captured_steps
from .backend import backend, kernels_read, native_serves, native_wanted, undisturbed
from .native.layer import Tensors
from .native.stepper import OneStep, StepLayer
from .scan import is_open, scan_steps

if TYPE_CHECKING:
    from .cell import RecurrentCell

FEW_ROWS = 32
"""A single step of at most this many rows runs without packing the weights; each row gets the bits that it gets alone."""

_prepared: "WeakKeyDictionary[RecurrentCell, OneStep]" = WeakKeyDictionary()
"""For each cell that was called alone, the description of its weights: not an attribute, which would be copied and saved."""

NativeParameters = tuple[Tensors, tuple[float, ...]]
"""The tensors of an operator by the operator's names, and its settings."""


class TimeSteps(NamedTuple):
    """How the N rows of a layer's input are divided into time steps, and in which direction they are read."""

    time: int
    batch: int
    sizes: list[int] | None
    """B_t for each step; None for a plain batch."""
    reverse: bool = False
    """Read from the last step to the first."""

    def each(self) -> list[int]:
        """B_t for each step."""
        return [self.batch] * self.time if self.sizes is None else self.sizes


class StepStates(NamedTuple):
    """The states of the rows of one step, each tensor (B_t, ·)."""

    before: Sequence[Tensor]
    after: Sequence[Tensor]


def run_layer(
    cell: "RecurrentCell", x: Tensor, steps: TimeSteps, state: Sequence[Tensor]
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over all time steps: x (N, I), state each (B, ·) -> outputs (N, H) in the order of x, final state."""
    new = _one_step(cell, x, state) if steps.time == 1 else None
    return _run_sequence(cell, x, steps, state) if new is None else (new[0].clone(), new)


def run_step(cell: "RecurrentCell", x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
    """Run a cell for one step: x (B, I), state each (B, ·) -> the new state."""
    new = _one_step(cell, x, state)
    return _run_sequence(cell, x, TimeSteps(1, x.shape[0], None), state)[1] if new is None else new


def _run_sequence(
    cell: "RecurrentCell", x: Tensor, steps: TimeSteps, state: Sequence[Tensor]
) -> tuple[Tensor, Sequence[Tensor]]:
    """What `run_layer` returns, by the path that serves a whole sequence."""
    mask = cell.dropout_mask(x.shape[0], x)
    if accelerator.wanted(x):
        answer = _on_device(cell, x, steps, state, mask)
        if answer is not None:
            return answer
    served = _native_parameters(cell, x, steps, state)
    if served is None or cell.native is None:
        return run_steps(cell, x, steps, state, mask)
    weights, settings = served
    inputs = {"x": x} | dict(zip(cell.native.states, state, strict=False)) | weights
    output, *final = cell.native(inputs, mask, steps.sizes, steps.reverse, *settings)
    if output.dtype == torch.float64 and output.requires_grad:
        # the backward pass reads the operator's output. As with torch.nn.LSTM, the output may be changed in place in float64;
        # in float32 both raise an error, and the copy is saved
        output = output.clone()
    return output, final[: len(state)]


def run_steps(
    cell: "RecurrentCell",
    x: Tensor,
    steps: TimeSteps,
    state: Sequence[Tensor],
    mask: Tensor | None,
    history: list[StepStates] | None = None,
) -> tuple[Tensor, Sequence[Tensor]]:
    """As `run_layer`, one step after another in plain torch or compiled.

    Batch sizes never grow with time. The state of rows whose sequence has ended (in reverse: not begun) is kept as it is.
    A history receives the states of every step, in the order of the outputs.
    """
    if mask is None and history is None and is_open(steps):
        return scan_steps(cell, x, steps, state)
    batch_sizes = steps.each()
    advance = cell.compiled_advance() if backend() == "compiled" else cell.advance
    weights = cell.weights()
    inputs = list(zip(*(part.split(batch_sizes, dim=1) for part in cell.project(x, weights)), strict=True))
    masks: Sequence[Tensor | None] = [None] * len(batch_sizes) if mask is None else mask.split(batch_sizes)
    outputs: list[Tensor] = []
    order = range(len(batch_sizes))
    for t in reversed(order) if steps.reverse else order:
        rows = batch_sizes[t]
        waiting = rows < state[0].shape[0]
        before = [tensor[:rows] for tensor in state] if waiting else state
        new = advance(inputs[t], before, weights, masks[t])
        outputs.append(new[0])
        if history is not None:
            history.append(StepStates(before, new))
        state = [torch.cat((a, b[rows:])) for a, b in zip(new, state, strict=True)] if waiting else new
    if steps.reverse:
        outputs.reverse()
        if history is not None:
            history.reverse()
    return torch.cat(outputs), state


def _on_device(
    cell: "RecurrentCell", x: Tensor, steps: TimeSteps, state: Sequence[Tensor], mask: Tensor | None
) -> tuple[Tensor, Sequence[Tensor]] | None:
    """What `run_layer` returns, from the Triton kernels or from a CUDA graph; None where neither serves the cell."""
    parameters = None if cell.native is None or cell.has_own_equations() else cell.native_parameters()
    if cell.native is None or parameters is None:
        return None
    weights, settings = parameters
    inputs = {"x": x} | dict(zip(cell.native.states, state, strict=False)) | weights
    cast, cast_mask = accelerator.autocast(inputs, mask)
    why_no_kernels = accelerator.refusal(cell.native.name, cast, cast_mask)
    if why_no_kernels is None:
        accelerator.log(cell, x, "the Triton kernels")
        output, *final = cell.native.dispatched(cast, cast_mask, steps.sizes, steps.reverse, *settings)
        return output, final[: len(state)]
    why_no_graph = f"the path is {backend()}"
    if backend() == "auto":
        why_no_graph = captured_steps.refusal(cell, [t for t in weights.values() if t is not None], x, state)
    if why_no_graph is not None:
        accelerator.log(cell, x, "the reference path", f"{why_no_kernels}; no CUDA graph: {why_no_graph}")
        return None
    accelerator.log(cell, x, captured_steps.description(), why_no_kernels)
    form = (settings, tuple(steps.each()), steps.reverse)
    answer = captured_steps.run(
        cell, x, state, mask, form, lambda cell, x, state, mask: run_steps(cell, x, steps, state, mask)
    )
    return None if answer is None else (answer[0], answer[1:])


def _native_parameters(
    cell: "RecurrentCell", x: Tensor, steps: TimeSteps, state: Sequence[Tensor]
) -> NativeParameters | None:
    """The weights and settings for the native path; None for another path."""
    if cell.native is None or not native_wanted() or steps.batch == 0 or cell.has_own_equations():
        return None
    if steps.time == 1 and backend() == "auto":
        return None  # packing the weights for one product costs more than it saves
    served = cell.native_parameters()
    return served if served is not None and native_serves((x, *state, *served[0].values())) else None


def _one_step(cell: "RecurrentCell", x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """One step of the native path, from x (B, I) and the state to the new state; None if it does not serve them."""
    op = cell.native
    if op is None or torch.is_grad_enabled() or not (undisturbed() and native_wanted()):
        return None
    # the number of rows is asked for after tracing: in a graph with an open batch the question would fix the answer
    if not 0 < x.shape[0] <= FEW_ROWS or (cell.training and cell.recurrent_dropout) or cell.has_own_equations():
        return None
    served = cell.native_parameters()
    if served is None or not kernels_read((x, *state)):
        return None
    prepared = _prepared.get(cell)
    if prepared is None or not prepared.still_reads(*served):
        if not kernels_read(served[0].values()):
            return None
        prepared = _prepared[cell] = OneStep(StepLayer(op, *served), x, state)
    return prepared(x, state)
