"""What every recurrent network shares: layers, directions, batch_first, unbatched and packed input, dropout, state.

A cell tells its step; this file runs it. Rows of all time steps lie one after another, as in a PackedSequence:
N = Σ_t B_t rows, B_t of them at step t. A plain batch has B_t = B for every t, so there is one loop for both.

B batch, T time, N rows, I input, H hidden, G gates, L layers, S directions.
"""

import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .backend import backend, compiled, native_serves, native_wanted, outside_of_torch
from .checks import check_input, check_probability, check_sizes, check_state
from .native.op import LayerOp
from .native.plan import Plan

FEW_ROWS = 16
"""So many rows of a single step are computed without packing the weights first."""


def detach(state):
    """Return the state cut from the graph that made it: what truncated backpropagation through time carries on."""
    return type(state)(*(tensor.detach() for tensor in state))


def gates_first(products: Tensor, gates: int) -> Tensor:
    """View products (N, G·H) as (G, N, H), so that one gate is one block."""
    rows, width = products.shape
    return products.view(rows, gates, width // gates).transpose(0, 1)


def parameters(module: nn.Module, names: Sequence[str]) -> dict[str, Tensor | None]:
    """These attributes of a module, without the detour that nn.Module makes for each: it is a tenth of a step of one row."""
    own = module._parameters
    return {name: own[name] if name in own else getattr(module, name) for name in names}


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

    def native_parameters(self) -> tuple[dict[str, Tensor | None], tuple[float, ...]] | None:
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
    mask = cell.dropout_mask(x.shape[0], x)
    native = _native_call(cell, x, steps, state, mask)
    if native is None or cell.native is None:
        return run_steps(cell, x, steps, state, reverse, mask)
    weights, settings, plan = native
    if plan is not None:
        output, *final = plan.run((x, *state))
    else:
        inputs = {"x": x} | dict(zip(cell.native.states, state, strict=False)) | weights
        output, *final = cell.native(inputs, mask, steps.sizes, reverse, *settings)
    return output, final[: len(state)]


def _native_call(
    cell: RecurrentCell, x: Tensor, steps: Steps, state: Sequence[Tensor], mask: Tensor | None
) -> tuple[dict[str, Tensor | None], tuple[float, ...], Plan | None] | None:
    """The weights and settings for the native path, and the plan if it is that of a single step; None for another path."""
    if cell.native is None or not native_wanted() or steps.batch == 0:
        return None
    one_step = steps.time == 1 and steps.batch <= FEW_ROWS and mask is None
    one_step = one_step and not torch.is_grad_enabled() and outside_of_torch()
    if steps.time == 1 and not one_step and backend() == "auto":
        return None  # packing the weights for one product costs more than it saves
    served = cell.native_parameters()
    if served is None:
        return None
    plan = cell.native.plan(x, *served) if one_step else None
    # weights that a plan was made for have been looked at
    if not native_serves((x, *state) if plan is not None else (x, *state, *served[0].values())):
        return None
    if one_step and plan is None:
        plan = cell.native.make_plan(x, state, *served)
    return *served, plan


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


class Rows(NamedTuple):
    """An input of any accepted form, as rows: what is needed to run, and to give the answer the same form."""

    data: Tensor
    steps: Steps
    packed: PackedSequence | None
    batched: bool
    batch_first: bool

    def in_form_of_input(self, rows: Tensor) -> Tensor | PackedSequence:
        """Values of all rows, (N, …), as the input came: (T, B, …), (B, T, …), (T, …) or packed."""
        if self.packed is not None:
            return PackedSequence(rows, *self.packed[1:])
        values = rows.view(self.steps.time, self.steps.batch, *rows.shape[1:])
        if not self.batched:
            return values.squeeze(1)
        return values.transpose(0, 1) if self.batch_first else values


Cell = TypeVar("Cell", bound=RecurrentCell)


def _makers_level(network: nn.Module) -> int:
    """The stack level, for a warning in __init__, of the code that makes the network: below it stand its own __init__s."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_locals.get("self") is network:
        level, frame = level + 1, frame.f_back
    return level


class RecurrentNetwork(nn.Module, Generic[Cell]):
    """Layers of cells, in one or both directions, called as torch.nn.LSTM is called.

    Subclasses make the cells; `cells[layer * directions + direction]` is the cell of a layer and direction.
    """

    def __init__(
        self,
        make_cell: Callable[[int], Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        check_probability("dropout", dropout, below_one=False)
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} acts between layers, and there is one layer only", stacklevel=_makers_level(self)
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.bidirectional = bidirectional
        sizes = [input_size] + [hidden_size * self.directions] * (num_layers - 1)
        self.cells = nn.ModuleList(make_cell(size) for size in sizes for _ in range(self.directions))

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for k in range(len(self.cells)):
            self.cell(k).reset_parameters()

    def forward(self, input: Tensor | PackedSequence, state: Any = None) -> tuple[Any, Any]:
        """Run the sequence; (output, state) as torch.nn.LSTM gives them.

        input: (T, B, I), or (B, T, I) with batch_first, or (T, I) for one sequence, or a PackedSequence.
        state: each tensor (layers·directions, B, size), without B for one sequence; zeros when left out.
        output: the top layer's h at every step, in the form of the input, H·directions wide; state as it came in.
        """
        rows = self.rows(input)
        x, state = self.run(rows, state, run_layer)
        return rows.in_form_of_input(x), state

    def run(self, rows: Rows, state: Any, run_layer: LayerRun) -> tuple[Tensor, Any]:
        """Run all layers and directions, each by run_layer: the output (N, H·directions), and the state as it came in."""
        state = self._initial_state(state, rows)
        x, finals = rows.data, []
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                k = layer * self.directions + direction
                initial = [tensor[k] for tensor in state]
                output, final = run_layer(self.cell(k), x, rows.steps, initial, direction == 1)
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, self._final_state(finals, rows)

    @property
    def directions(self) -> int:
        """2 where the network reads both ways, else 1."""
        return 2 if self.bidirectional else 1

    def cell(self, k: int) -> Cell:
        """The cell of layer k // directions and direction k % directions."""
        return cast(Cell, self.cells[k])

    def rows(self, input: Tensor | PackedSequence) -> Rows:
        """The input as rows. Errors: ValueError or TypeError that names what came and what was expected."""
        weight = next(self.parameters())
        if isinstance(input, PackedSequence):
            check_input(input.data, self.input_size, {2: "(rows, input_size) when packed"}, weight)
            sizes = input.batch_sizes.tolist()
            return Rows(input.data, Steps(len(sizes), sizes[0], sizes), input, True, self.batch_first)
        batched = "(batch, time, input_size)" if self.batch_first else "(time, batch, input_size)"
        check_input(input, self.input_size, {3: batched, 2: "(time, input_size)"}, weight)
        x = input.unsqueeze(1) if input.dim() == 2 else input.transpose(0, 1) if self.batch_first else input
        time, batch = x.shape[:2]
        if time == 0:
            raise ValueError(f"input should have at least one time step, got shape {tuple(input.shape)}")
        data = x.reshape(time * batch, self.input_size)
        return Rows(data, Steps(time, batch, None), None, input.dim() == 3, self.batch_first)

    def _initial_state(self, state: Any, rows: Rows) -> Sequence[Tensor]:
        cell = self.cell(0)
        if state is None:
            return cell.zero_state(rows.data, len(self.cells), rows.steps.batch)
        tensors = cell.state_tensors(state)
        leading = (len(self.cells), rows.steps.batch) if rows.batched else (len(self.cells),)
        shapes = [(*leading, size) for size in cell.state_sizes]
        check_state(tensors, cell.state_names, shapes, next(self.parameters()))
        if not rows.batched:
            return [tensor.unsqueeze(1) for tensor in tensors]
        if rows.packed is not None and rows.packed.sorted_indices is not None:
            return [tensor.index_select(1, rows.packed.sorted_indices) for tensor in tensors]
        return tensors

    def _final_state(self, finals: list[Sequence[Tensor]], rows: Rows) -> Any:
        tensors = [torch.stack(same) for same in zip(*finals, strict=True)]
        if not rows.batched:
            tensors = [tensor.squeeze(1) for tensor in tensors]
        if rows.packed is not None and rows.packed.unsorted_indices is not None:
            tensors = [tensor.index_select(1, rows.packed.unsorted_indices) for tensor in tensors]
        return self.cell(0).named_state(tensors)

    def extra_repr(self) -> str:
        """Sizes and the settings that are not the default, for printing."""
        shown = [str(self.input_size), str(self.hidden_size)]
        defaults = {"num_layers": 1, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        shown += [
            f"{name}={getattr(self, name)}" for name, default in defaults.items() if getattr(self, name) != default
        ]
        return ", ".join(shown)
