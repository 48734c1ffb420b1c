"""What every recurrent network shares: layers, directions, batch_first, unbatched and packed input, dropout, state.

B batch, T time, N rows of all time steps, I input, H hidden, L layers, S directions.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .cell import RecurrentCell
from .checks import check_input, check_probability, check_sizes, check_state
from .script import NotScriptable
from .sequence import TimeSteps
from .stepper import Stepper
from .torch_names import translate_names


class SequenceRows(NamedTuple):
    """A network's input as the rows of all time steps, and what is needed to give the output the form of the input."""

    data: Tensor
    """(N, I)."""
    steps: TimeSteps
    packed: PackedSequence | None
    batched: bool
    batch_first: bool

    def in_form_of_input(self, rows: Tensor) -> Tensor | PackedSequence:
        """Values of all rows, (N, …), in the form of the input: (T, B, …), (B, T, …), (T, …) or packed."""
        if self.packed is not None:
            return PackedSequence(rows, *self.packed[1:])
        values = rows.view(self.steps.time, self.steps.batch, *rows.shape[1:])
        if not self.batched:
            return values.squeeze(1)
        return values.transpose(0, 1) if self.batch_first else values


CallCell = Callable[[RecurrentCell, Tensor, Any, TimeSteps], tuple[Tensor, Any]]
"""Calls a cell for a whole layer, (cell, x, state, steps) -> (outputs, final state)."""


def call_cell(cell: RecurrentCell, x: Tensor, state: Any, steps: TimeSteps) -> tuple[Tensor, Any]:
    """Run a layer by calling its cell, so that the cell's hooks run."""
    tensors = cell.state_tensors(state)
    if not torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *tensors)):
        # A view made without gradients still reports requires_grad, and hooks such as those of FlopCounterMode fail on it.
        x, state = x.detach(), cell.named_state([tensor.detach() for tensor in tensors])
    return cell(x, state, steps)


_SHOWN = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
"""The settings of a network that are printed unless they have these values."""

Cell = TypeVar("Cell", bound=RecurrentCell)


def _makers_level(network: nn.Module) -> int:
    """The stack level, for a warning in __init__, of the code that makes the network, past the network's own __init__s."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_locals.get("self") is network:
        level, frame = level + 1, frame.f_back
    return level


class RecurrentNetwork(NotScriptable, nn.Module, Generic[Cell]):
    """Layers of cells, in one or both directions, called like torch.nn.LSTM.

    `cells[layer * directions + direction]` is the cell of a layer and direction. The network calls each cell once for the
    whole sequence, `cell(x, state, steps)`; the hooks of a cell run then.
    """

    cell_type: ClassVar[type[Any]]
    """The class of its cells: `cell_type(input_size, hidden_size, **of_cell)`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        **of_cell: Any,
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
        self.cells: nn.ModuleList = nn.ModuleList(
            self.cell_type(size, hidden_size, **of_cell) for size in sizes for _ in range(self.directions)
        )

    def reset_parameters(self) -> None:
        """Initialise all parameters, with the numbers that a new network would have at the same seed."""
        for k in range(len(self.cells)):
            self.cell(k).reset_parameters()

    @property
    def recurrent_dropout(self) -> float:
        """The probability of dropping a candidate value while training: the first cell's. Assigning it sets all cells.

        Raises:
            TypeError or ValueError: on assignment, for anything but a number in [0, 1).
        """
        return self.cell(0).recurrent_dropout

    @recurrent_dropout.setter
    def recurrent_dropout(self, probability: float) -> None:
        for k in range(len(self.cells)):
            self.cell(k).recurrent_dropout = probability

    def forward(self, input: Tensor | PackedSequence, state: Any = None, *, hx: Any = None) -> tuple[Any, Any]:
        """Run the sequence; (output, state) as torch.nn.LSTM returns them.

        input: (T, B, I), or (B, T, I) with batch_first, or (T, I) for one sequence, or a PackedSequence.
        state: each tensor (layers·directions, B, size), without B for one sequence; zeros if left out.
        hx: torch's name for the state.
        output: the top layer's h at every step, in the form of the input, H·directions wide; the state in the form given.
        """
        if state is not None and hx is not None:
            raise TypeError("state and hx are two names of one argument: give one of them")
        rows = self.rows(input)
        x, state = self.run(rows, hx if state is None else state)
        return rows.in_form_of_input(x), state

    def run(self, rows: SequenceRows, state: Any, call: CallCell = call_cell) -> tuple[Tensor, Any]:
        """Run all layers and directions: the output (N, H·directions), and the final state in the form of the given one."""
        cell = self.cell(0)
        initial = list(zip(*(tensor.unbind() for tensor in self.initial_state(state, rows)), strict=True))
        x, finals = rows.data, []
        cells = list(self.cells)
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                k = layer * self.directions + direction
                steps = rows.steps._replace(reverse=direction == 1)
                output, final = call(cast(Cell, cells[k]), x, cell.named_state(initial[k]), steps)
                outputs.append(output)
                finals.append(cell.state_tensors(final))
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, self.final_state(finals, rows)

    def stepper(self, batch: int | None = 1, weights: str | None = None) -> Stepper:
        """A stepper: it keeps the state and runs one time step of all layers at a time, for generation.

            step = rnn.stepper(batch=1)
            h = step(x)                               # x (1, I) -> h (1, H)

        batch: the number of rows of x; None for x (I,). weights: how the big matrices are stored: the network's own dtype
        (default), or of a float32 network "bfloat16" or "int8". All else is described at `hn.Stepper`.
        """
        return Stepper(self, batch, weights)

    def flatten_parameters(self) -> None:
        """Do nothing: code written for torch.nn calls it, and the parameters here need no rearranging."""

    @property
    def directions(self) -> int:
        """2 if the network is bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    def cell(self, k: int) -> Cell:
        """The cell of layer k // directions and direction k % directions."""
        return cast(Cell, self.cells[k])

    def rows(self, input: Tensor | PackedSequence) -> SequenceRows:
        """The input as rows.

        Raises:
            ValueError or TypeError: naming what was given and what was expected.
        """
        weight = self.cell(0).some_parameter()
        if isinstance(input, PackedSequence):
            check_input(input.data, self.input_size, {2: "(rows, input_size) when packed"}, weight)
            sizes = input.batch_sizes.tolist()
            return SequenceRows(input.data, TimeSteps(len(sizes), sizes[0], sizes), input, True, self.batch_first)
        batched = "(batch, time, input_size)" if self.batch_first else "(time, batch, input_size)"
        check_input(input, self.input_size, {3: batched, 2: "(time, input_size)"}, weight)
        x = input.unsqueeze(1) if input.dim() == 2 else input.transpose(0, 1) if self.batch_first else input
        time, batch = x.shape[:2]
        if time == 0:
            raise ValueError(f"input should have at least one time step, got shape {tuple(input.shape)}")
        data = x.reshape(time * batch, self.input_size)
        return SequenceRows(data, TimeSteps(time, batch, None), None, input.dim() == 3, self.batch_first)

    def initial_state(self, state: Any, rows: SequenceRows) -> Sequence[Tensor]:
        """The tensors of the state to start from, each (layers·directions, B, size): of the given state, or zeros.

        Raises:
            ValueError or TypeError: naming what was given and what was expected.
        """
        cell = self.cell(0)
        if state is None:
            return cell.zero_state(rows.data, len(self.cells), rows.steps.batch)
        tensors = cell.state_tensors(state)
        leading = (len(self.cells), rows.steps.batch) if rows.batched else (len(self.cells),)
        shapes = [(*leading, size) for size in cell.state_sizes]
        check_state(tensors, cell.state_names, shapes, cell.some_parameter())
        if not rows.batched:
            return [tensor.unsqueeze(1) for tensor in tensors]
        if rows.packed is not None and rows.packed.sorted_indices is not None:
            return [tensor.index_select(1, rows.packed.sorted_indices) for tensor in tensors]
        return tensors

    def final_state(self, finals: Sequence[Sequence[Tensor]], rows: SequenceRows) -> Any:
        """The network's state in the form of the given one, from the tensors of each cell's state."""
        tensors = [torch.stack(same) for same in zip(*finals, strict=True)]
        if not rows.batched:
            tensors = [tensor.squeeze(1) for tensor in tensors]
        if rows.packed is not None and rows.packed.unsorted_indices is not None:
            tensors = [tensor.index_select(1, rows.packed.unsorted_indices) for tensor in tensors]
        return self.cell(0).named_state(tensors)

    def extra_repr(self) -> str:
        """Sizes and settings, for printing."""
        shown = [str(self.input_size), str(self.hidden_size)]
        for name, default in _SHOWN.items():
            value = getattr(self, name, default)
            shown += [f"{name}={value}"] if value != default else []
        return ", ".join(shown)


class TorchStandIn(RecurrentNetwork[Cell]):
    """A network that replaces one of torch.nn: code that was written for torch.nn.LSTM, GRU or RNN can use it.

    Its load_state_dict takes the state_dict of torch's network, too.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int, *, bias: bool, **others: Any) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias=bias, **others)
        self.bias = bias
        self.proj_size = 0
        self.register_load_state_dict_pre_hook(translate_names)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each cell, in the order of `cells`: W_x, W_h, then biases and norms."""
        return [list(cell.parameters()) for cell in self.cells]
