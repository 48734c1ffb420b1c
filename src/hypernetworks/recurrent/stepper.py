"""A stepper: one time step of all layers of a network at a time, for generation.

    h_t, s_t = network(x_t, s_{t-1})                 one call, the state kept, the weights read and packed once

A step of one row reads every weight once and does little besides, so its time is that of reading them: how they are stored
decides how fast it is.

B batch, I input, H hidden, L layers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor

from .backend import native_serves, native_wanted, undisturbed
from .checks import check_choice, check_input, check_sizes, check_state
from .hooks import run_hooks
from .native.stepper import PackedSteps, StepLayer
from .sequence import TimeSteps, run_steps

if TYPE_CHECKING:
    from .cell import RecurrentCell
    from .layer import RecurrentNetwork

REDUCED = ("bfloat16", "int8")
"""Storages of the big matrices that round them."""


class Stepper:
    """Runs a network one time step at a time: `h = step(x)`, made by `network.stepper(batch, weights)`.

        with rnn.stepper(batch=1) as step:
            for _ in range(100):
                h = step(x)                      # x (1, I) -> h (1, H) of the top layer
        step = rnn.stepper(batch=None)           # without a batch: x (I,) -> h (H,)

    h_t, s_t = network(x_t, s_{t-1}), starting from the zero state. No gradients flow and no dropout is applied, whatever the
    mode of the network. On the native path one step of all layers is one call; elsewhere the reference path gives the same
    numbers. On the native path each row has the same bits whatever other rows the batch holds.

    The weights are read once: call `refresh` after they have changed. Until then it is open whether a step sees the change. One
    thread at a time may use a stepper.

    Args:
        network: a network of one direction.
        batch: B, the number of rows of x; None for x (I,) and a state without a batch.
        weights: how the big matrices are stored: the network's own dtype (default), "bfloat16", or "int8" with a scale for each
            row. All else stays in float32, but for int8 the inputs of the products are rounded to 16 bits. A reduced storage
            needs a float32 network and the native path.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5, num_layers=2, hyper_size=4)
        >>> x = torch.randn(6, 1, 3)
        >>> with hn.Stepper(rnn, batch=1) as step:      # or rnn.stepper(batch=1)
        ...     outputs = torch.stack([step(row) for row in x])
        ...     state = step.state
        >>> torch.allclose(outputs, rnn(x)[0], atol=1e-6)
        True

    Raises:
        TypeError, ValueError: for an argument that is not as above; the message names it, what came and what was expected.
        RuntimeError: the network or one of its cells has a forward hook, which would never run.
    """

    def __init__(self, network: "RecurrentNetwork[Any]", batch: int | None = 1, weights: str | None = None) -> None:
        from .layer import RecurrentNetwork  # which imports this module

        if not isinstance(network, RecurrentNetwork):
            raise TypeError(f"network should be a recurrent network such as hn.LSTM, got {type(network).__name__}")
        if batch is not None:
            check_sizes(batch=batch)
        if network.bidirectional:
            raise ValueError(
                "a bidirectional network reads the whole sequence at once: it has no steps to take one by one"
            )
        self._network = network
        self._batched = batch is not None
        self._cells: list[RecurrentCell] = [network.cell(k) for k in range(network.num_layers)]
        self._dtype = network.cell(0).some_parameter().dtype
        own = str(self._dtype).removeprefix("torch.")
        self._weights = own if weights is None else weights
        accepted = (own, *REDUCED) if own == "float32" else (own,)
        if self._weights in REDUCED and self._weights not in accepted:
            given = f"weights={self._weights!r} requires a network in float32, got {own}"
            raise ValueError(f"{given}: call network.float(), or leave out weights")
        check_choice("weights", self._weights, accepted)
        self._storage = "own" if self._weights == own else self._weights
        self._steps: _Steps | None = None
        self._read_weights()
        self._begin(self._zeros(batch or 1))

    def __call__(self, x: Tensor) -> Tensor:
        """Take one step: x (B, I) -> h (B, H) of the top layer; without a batch (I,) -> (H,).

        Raises:
            ValueError, TypeError: x has not that shape, or not the dtype and device of the network.
            RuntimeError: gradients are asked for, or the stepper is closed.
        """
        steps = self._open()
        if not (
            type(x) is Tensor and x.shape == self._shape and x.dtype is self._dtype and x.is_cpu and not x.requires_grad
        ):
            self._check(x)
        if steps.native:
            if not undisturbed():
                raise RuntimeError(
                    "a stepper calls its kernel where torch does not see it: use the network itself under autocast, "
                    "torch.compile, torch.func, forward-mode derivatives and tracing"
                )
            if not x.is_contiguous() or x.is_neg():
                x = x.clone(memory_format=torch.contiguous_format)
        h = steps.step(x)
        return h if self._batched else h.squeeze(0)

    @property
    def batch(self) -> int | None:
        """B, the number of rows of x; None without a batch. It follows the state that is set."""
        return self._shape[0] if self._batched else None

    @property
    def weights(self) -> str:
        """How the big matrices are stored."""
        return self._weights

    @property
    def native(self) -> bool:
        """Whether each step is one call of a kernel; False on the reference path and the compiled one."""
        return self._open().native

    @property
    def state(self) -> Any:
        """A copy of the state as the network gives it: each tensor (L, B, size), or (L, size) without a batch.

        Setting it to a state of another batch size changes `batch`.
        """
        tensors = [tensor.clone() for tensor in self._open().states]
        return self._cells[0].named_state(tensors if self._batched else [tensor.squeeze(1) for tensor in tensors])

    @state.setter
    def state(self, state: Any) -> None:
        self._open()
        cell = self._cells[0]
        tensors = cell.state_tensors(state)
        leading: tuple[int, ...] = (len(self._cells),)
        if self._batched:
            rows = [tensor.shape[1] for tensor in tensors if isinstance(tensor, Tensor) and tensor.dim() == 3]
            leading = (*leading, max(rows[0], 1) if rows else self._shape[0])
        check_state(
            tensors, cell.state_names, [(*leading, size) for size in cell.state_sizes], self._cells[0].some_parameter()
        )
        tensors = [tensor.detach() for tensor in tensors]
        self._begin(tensors if self._batched else [tensor.unsqueeze(1) for tensor in tensors])

    def reset(self, rows: int | Sequence[int] | Tensor | None = None) -> None:
        """Set the state of the rows of these indices to zero, of all rows where none are given.

        Raises:
            IndexError: there is no such row.
        """
        with torch.inference_mode():
            for tensor in self._open().states:
                tensor[:, slice(None) if rows is None else rows] = 0

    def refresh(self) -> None:
        """Read the network's weights again; the state stays as it is."""
        states = [tensor.clone() for tensor in self._open().states]
        self._read_weights()
        self._begin(states)

    def close(self) -> None:
        """Free the packed weights; the stepper cannot be used any more."""
        self._steps = None

    def __enter__(self) -> Self:
        """The stepper itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def __reduce__(self) -> Any:
        """A stepper holds memory of its own kernel."""
        raise TypeError("a stepper cannot be copied or pickled: make another with network.stepper()")

    def __repr__(self) -> str:
        """The network's class, the batch and the storage."""
        return f"Stepper({type(self._network).__name__}, batch={self.batch}, weights={self._weights!r})"

    def _open(self) -> "_Steps":
        if self._steps is None:
            raise RuntimeError("the stepper is closed: make another with network.stepper()")
        return self._steps

    def _read_weights(self) -> None:
        if self._network._forward_hooks or self._network._forward_pre_hooks:
            raise RuntimeError(
                "the network has a forward hook, which would never run: a stepper does not call the network"
            )
        for k, cell in enumerate(self._cells):
            run_hooks(cell, f"cells.{k}")
        layers = _native_layers(self._cells)
        if layers is not None:
            with torch.no_grad():
                self._steps = PackedSteps(layers, self._cells[0].state_sizes, self._storage)
        elif self._storage != "own":
            raise ValueError(
                f"weights={self._weights!r} needs the native path, which does not serve this network here: see "
                "`hypernetworks doctor`, or leave weights out"
            )
        else:
            self._steps = _ReferenceSteps(self._cells)

    def _zeros(self, batch: int) -> list[Tensor]:
        like = self._cells[0].some_parameter()
        return list(self._cells[0].zero_state(like, len(self._cells), batch))

    def _begin(self, states: Sequence[Tensor]) -> None:
        self._shape = torch.Size((states[0].shape[1], self._network.input_size)[not self._batched :])
        with torch.inference_mode(False), torch.no_grad():
            self._open().begin(states)

    def _check(self, x: Tensor) -> None:
        weight = self._cells[0].some_parameter()
        dims = {2: "(batch, input_size)"} if self._batched else {1: "(input_size,)"}
        check_input(x, self._network.input_size, dims, weight)
        if x.shape != self._shape:
            raise ValueError(f"input should have {self._shape[0]} rows, as the stepper's batch, got {x.shape[0]}")
        if x.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(
                "no gradients flow through a stepper: call the network itself, or give x.detach(), or use torch.no_grad()"
            )
        if self._open().native and not native_serves((x,)):
            raise TypeError(f"input should be a dense tensor on the CPU, got {type(x).__name__} of layout {x.layout}")


class _Steps(Protocol):
    """What takes the steps."""

    native: bool

    @property
    def states(self) -> Sequence[Tensor]:
        """The states, each (L, B, size), in place."""
        ...

    def begin(self, states: Sequence[Tensor]) -> None:
        """Start from these states."""

    def step(self, x: Tensor) -> Tensor:
        """From x to h of the top layer, and the states moved on."""
        ...


def _native_layers(cells: Sequence["RecurrentCell"]) -> list[StepLayer] | None:
    """The layers as the native path needs them; None where it does not serve them."""
    layers = []
    for cell in cells:
        if cell.native is None or not native_wanted() or cell.has_own_equations():
            return None
        served = cell.native_parameters()
        if served is None or not native_serves(served[0].values()):
            return None
        layers.append(StepLayer(cell.native, *served))
    return layers


class _ReferenceSteps:
    """Steps of the reference path, or of the compiled one where that is asked for."""

    native = False

    def __init__(self, cells: Sequence["RecurrentCell"]) -> None:
        self._cells = cells

    def begin(self, states: Sequence[Tensor]) -> None:
        """Start from copies of these states."""
        self.states = [tensor.clone() for tensor in states]

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One cell after the other."""
        steps = TimeSteps(1, self.states[0].shape[1], None)
        x = x.view(steps.batch, -1)
        finals = []
        for cell, *state in zip(self._cells, *(tensor.unbind() for tensor in self.states), strict=True):
            x, final = run_steps(cell, x, steps, state, None)
            finals.append(final)
        self.states = [torch.stack(same) for same in zip(*finals, strict=True)]
        return x
