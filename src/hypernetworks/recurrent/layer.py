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

from .cell import LayerRun, RecurrentCell, Steps, run_layer
from .checks import check_input, check_probability, check_sizes, check_state
from .stepper import Stepper


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

    cell_type: ClassVar[type[Any]]
    """The class of its cells."""

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
        cells = list(self.cells)
        initial = list(zip(*(tensor.unbind() for tensor in state), strict=True))
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            outputs = []
            for direction in range(self.directions):
                k = layer * self.directions + direction
                output, final = run_layer(cast(Cell, cells[k]), x, rows.steps, initial[k], direction == 1)
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return x, self._final_state(finals, rows)

    def stepper(self, batch: int | None = 1, weights: str | None = None) -> Stepper:
        """A stepper: it keeps the state and runs one time step of all layers at a time, for generation.

            step = rnn.stepper(batch=1)
            h = step(x)                               # x (1, I) -> h (1, H)

        batch: the number of rows of x; None for x (I,). weights: how the big matrices are stored: the network's own dtype
        (default), or of a float32 network "bfloat16" or "int8". All else is described at `Stepper`.
        """
        return Stepper(self, batch, weights)

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
