"""What every cell is: its parameters, its step, one call of it, and how it is run over all time steps.

A cell tells its step; `run_layer` runs it. Rows of all time steps lie one after another, as in a PackedSequence:
N = Σ_t B_t rows, B_t of them at step t. A plain batch has B_t = B for every t, so there is one loop for both.

B batch, T time, N rows, I input, H hidden, G gates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from .backend import backend, compiled, native_serves, native_wanted, undisturbed
from .checks import check_input, check_probability, check_sizes, check_state
from .native.op import LayerOp, Tensors
from .native.stepper import StepLayer, one_step

FEW_ROWS = 32
"""Up to this many rows, a single step does not pack the weights first, and each row gets the bits that it gets alone."""


def detach(state):
    """Return the state cut from the graph that made it: what truncated backpropagation through time carries on."""
    return type(state)(*(tensor.detach() for tensor in state))


NativeParameters = tuple[Tensors, tuple[float, ...]]


def gates_first(products: Tensor, gates: int) -> Tensor:
    """View products (N, G·H) as (G, N, H), so that one gate is one block."""
    rows, width = products.shape
    return products.view(rows, gates, width // gates).transpose(0, 1)


class RecurrentCell(nn.Module, ABC):
    """One step of a recurrent network, and the parameters of one layer in one direction.

    A subclass sets `state_type` and gives `state_sizes`, `weights`, `project` and `step`. Written so, a whole layer is
    weights() once, project() once for all time steps, and then nothing but step().
    """

    state_type: ClassVar[Callable[..., Any] | None]
    """The NamedTuple of the state; None where the state is h alone, a bare tensor."""
    state_names: ClassVar[tuple[str, ...]]
    native: ClassVar[LayerOp | None] = None
    """The operator that runs a whole layer of such cells in one call; None where there is the reference path alone."""

    def __init__(self, input_size: int, hidden_size: int, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_probability("recurrent_dropout", recurrent_dropout, below_one=True)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.recurrent_dropout = recurrent_dropout

    @property
    @abstractmethod
    def state_sizes(self) -> tuple[int, ...]:
        """The width of each tensor of the state, h first."""

    @property
    def candidate_size(self) -> int:
        """How many candidate values one row makes in one step: what recurrent dropout drops from."""
        return self.hidden_size

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the class's docstring tells."""

    @abstractmethod
    def weights(self) -> Any:
        """Everything that `project` and `step` need, put together once per call."""

    @abstractmethod
    def project(self, x: Tensor, weights: Any) -> tuple[Tensor, ...]:
        """The products of the input x (N, I) for all time steps at once, each (G, N, ·)."""

    @abstractmethod
    def step(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: Any, mask: Tensor | None
    ) -> Sequence[Tensor]:
        """One time step: from the projected input (each (G, B, ·)) and the state (each (B, ·)) to the new state."""

    def native_parameters(self) -> NativeParameters | None:
        """The operator's weights by their names there, and its settings; None where these are not what it serves."""
        return None

    def stepper(self) -> Callable[..., Sequence[Tensor]]:
        """`step`, compiled where that is asked for."""
        return partial(compiled(type(self).step), self) if backend() == "compiled" else self.step

    def dropout_mask(self, rows: int, like: Tensor) -> Tensor | None:
        """Draw 0 or 1/(1 − p) for every candidate value of every row: recurrent dropout, fresh for each step.

        Only while training. Semeniuta et al., "Recurrent Dropout without Memory Loss", arXiv 1603.05118.
        """
        if not self.training or self.recurrent_dropout == 0:
            return None
        keep = 1 - self.recurrent_dropout
        probability = torch.full((rows, self.candidate_size), keep, device=like.device, dtype=like.dtype)
        return torch.bernoulli(probability) / keep  # not in place, so that torch.func.vmap can draw for each sample

    def zero_state(self, like: Tensor, *leading: int) -> tuple[Tensor, ...]:
        """The state before the first step: zeros, of shape (*leading, size) for each size."""
        return tuple(torch.zeros(*leading, size, device=like.device, dtype=like.dtype) for size in self.state_sizes)

    def named_state(self, tensors: Sequence[Tensor]) -> Any:
        """The tensors of a state as the user gets them: a NamedTuple, or the bare tensor where there is but one."""
        return tensors[0] if self.state_type is None else self.state_type(*tensors)

    def state_tensors(self, state: Any) -> Sequence[Tensor]:
        """The tensors of a state that the user gave."""
        if self.state_type is None:
            return (state,)
        if not isinstance(state, tuple | list):
            raise TypeError(f"state should be a tuple ({', '.join(self.state_names)}), got {type(state).__name__}")
        return state

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step: x (B, I) or (I,), state each (B, size) or (size,), zeros when left out -> h, new state."""
        weight = next(self.parameters())
        check_input(x, self.input_size, {2: "(batch, input_size)", 1: "(input_size,)"}, weight)
        if state is None:
            tensors = self.zero_state(x, *x.shape[:-1])
        else:
            tensors = self.state_tensors(state)
            check_state(tensors, self.state_names, [(*x.shape[:-1], size) for size in self.state_sizes], weight)
        unbatched = x.dim() == 1
        if unbatched:
            x, tensors = x.unsqueeze(0), [tensor.unsqueeze(0) for tensor in tensors]
        _, tensors = run_layer(self, x, Steps(1, x.shape[0], None), tensors, reverse=False)
        if unbatched:
            tensors = [tensor.squeeze(0) for tensor in tensors]
        return tensors[0], self.named_state(tensors)

    def extra_repr(self) -> str:
        """The sizes, for printing."""
        dropout = f", recurrent_dropout={self.recurrent_dropout}" if self.recurrent_dropout else ""
        return f"{self.input_size}, {self.hidden_size}{dropout}"


class PlainCell(RecurrentCell):
    """A cell with fixed weights: one that a hyper network can take for its main network."""

    weight_h: nn.Parameter
    """All matrices that meet h: blocks of (H, H), one after another."""

    @property
    @abstractmethod
    def gate_names(self) -> tuple[str, ...]:
        """The gates and candidates as the equations name them, in the order of their blocks."""

    @abstractmethod
    def matrices(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """W_x, the part of W_h that meets h_{t-1}, and b: what a hyper network acts on."""


class Steps(NamedTuple):
    """How the N rows of a sequence are dealt over its time steps."""

    time: int
    batch: int
    sizes: list[int] | None
    """B_t for each step, where they differ: packed input."""

    def each(self) -> list[int]:
        """B_t for each step."""
        return [self.batch] * self.time if self.sizes is None else self.sizes


LayerRun = Callable[[RecurrentCell, Tensor, Steps, Sequence[Tensor], bool], tuple[Tensor, Sequence[Tensor]]]
"""What runs a layer, as `run_layer` does."""


def run_layer(
    cell: RecurrentCell, x: Tensor, steps: Steps, state: Sequence[Tensor], reverse: bool
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over all time steps: x (N, I), state each (B, ·) -> the outputs (N, H) in the order of x, final state."""
    # sizes that torch.export leaves open are not looked at: nothing traces where a step may be taken alone
    if _steps_alone(cell) and steps.time == 1 and 0 < steps.batch <= FEW_ROWS:
        new = _one_step(cell, x, state)
        if new is not None:
            return new[0].clone(), new
    mask = cell.dropout_mask(x.shape[0], x)
    served = _served(cell, x, steps, state)
    if served is None or cell.native is None:
        return run_steps(cell, x, steps, state, reverse, mask)
    weights, settings = served
    inputs = {"x": x} | dict(zip(cell.native.states, state, strict=False)) | weights
    output, *final = cell.native(inputs, mask, steps.sizes, reverse, *settings)
    return output, final[: len(state)]


def _served(cell: RecurrentCell, x: Tensor, steps: Steps, state: Sequence[Tensor]) -> NativeParameters | None:
    """The weights and settings for the native path; None for another path."""
    if cell.native is None or not native_wanted() or steps.batch == 0:
        return None
    if steps.time == 1 and backend() == "auto":
        return None  # packing the weights for one product costs more than it saves
    served = cell.native_parameters()
    return served if served is not None and native_serves((x, *state, *served[0].values())) else None


def _steps_alone(cell: RecurrentCell) -> bool:
    """Whether a single step of a cell may be a call that torch does not see, without gradients or dropout."""
    if cell.native is None or torch.is_grad_enabled() or not undisturbed() or not native_wanted():
        return False
    return not (cell.training and cell.recurrent_dropout)


def _one_step(cell: RecurrentCell, x: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor] | None:
    """One step of the native path from x (B, I) and the state to the new state; None where that does not serve it."""
    if cell.native is None or not native_serves((x, *state)):
        return None
    served = cell.native_parameters()
    if served is None or not native_serves(served[0].values()):
        return None
    return one_step(StepLayer(cell.native, *served), x, state)


class StepStates(NamedTuple):
    """The states of the rows of one step, each tensor (B_t, ·)."""

    before: Sequence[Tensor]
    after: Sequence[Tensor]


def run_steps(
    cell: RecurrentCell,
    x: Tensor,
    steps: Steps,
    state: Sequence[Tensor],
    reverse: bool,
    mask: Tensor | None,
    history: list[StepStates] | None = None,
) -> tuple[Tensor, Sequence[Tensor]]:
    """The same one step after another, plain torch or compiled.

    Batch sizes never grow with time. Rows beyond those of a step have ended (or, in reverse, not begun): they wait.
    A history gets the states of every step, in the order of the outputs.
    """
    batch_sizes = steps.each()
    step = cell.stepper()
    weights = cell.weights()
    inputs = list(zip(*(part.split(batch_sizes, dim=1) for part in cell.project(x, weights)), strict=True))
    masks: Sequence[Tensor | None] = [None] * len(batch_sizes) if mask is None else mask.split(batch_sizes)
    outputs: list[Tensor] = []
    order = range(len(batch_sizes))
    for t in reversed(order) if reverse else order:
        rows = batch_sizes[t]
        waiting = rows < state[0].shape[0]
        before = [tensor[:rows] for tensor in state] if waiting else state
        new = step(inputs[t], before, weights, masks[t])
        outputs.append(new[0])
        if history is not None:
            history.append(StepStates(before, new))
        state = [torch.cat((a, b[rows:])) for a, b in zip(new, state, strict=True)] if waiting else new
    if reverse:
        outputs.reverse()
        if history is not None:
            history.reverse()
    return torch.cat(outputs), state
