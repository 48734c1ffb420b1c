"""What every cell is: its parameters, one step of its equations, and the call of it.

B batch, N rows of all time steps, I input, H hidden, G gates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backend import compiled
from .checks import check_input, check_probability, check_sizes, check_state
from .hooks import ParameterHolder, run_inner_hooks
from .native.layer import Tensors
from .native.op import LayerOp
from .script import NotScriptable
from .sequence import NativeParameters, StepStates, TimeSteps, run_layer, run_step, run_steps

State = TypeVar("State", bound=tuple[Tensor, ...])

EQUATIONS = frozenset({"weights", "project", "advance", "step", "gates", "scales"})
"""The methods that a native kernel stands for. A class that overrides one without naming a kernel has no kernel."""


def named_tensors(module: nn.Module, *names: str) -> Tensors:
    """The module's weights of these names: parameters from its own table, for speed, and all else by attribute.

    Attributes are the results of parametrizations, and the plain tensors in the replicas of DataParallel.
    """
    own = module._parameters
    tensors: Tensors = {}
    for name in names:
        tensors[name] = own[name] if name in own else getattr(module, name)
    return tensors


def part(module: nn.Module, name: str) -> Any:
    """The module of this name inside another, None where there is none; an attribute takes ten times as long to find."""
    return module._modules.get(name)


def detach(state: State) -> State:
    """Return the state detached from the graph that computed it, for truncated backpropagation through time."""
    kind: Any = type(state)
    return kind(*(tensor.detach() for tensor in state))


def gates_first(products: Tensor, gates: int) -> Tensor:
    """View products (N, G·H) as (G, N, H), so that one gate is one block."""
    rows, width = products.shape
    return products.view(rows, gates, width // gates).transpose(0, 1)


class RecurrentCell(NotScriptable, ParameterHolder, ABC):
    """One step of a recurrent network, and the parameters of one layer in one direction.

    A whole layer is weights() once, project() once for all time steps, and advance() at each step.
    """

    state_type: ClassVar[Callable[..., Any] | None]
    """The NamedTuple of the state; None for a state of h alone, a bare tensor."""
    state_names: ClassVar[tuple[str, ...]]
    native: ClassVar[LayerOp | None] = None
    """The operator that runs a whole layer of this cell in one call; None for the reference path alone."""

    def __init_subclass__(cls, **others: Any) -> None:
        super().__init_subclass__(**others)
        named_by = next(base for base in cls.__mro__ if "native" in vars(base))
        if any(getattr(cls, name, None) is not getattr(named_by, name, None) for name in EQUATIONS):
            cls.native = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size

    @property
    @abstractmethod
    def recurrent_dropout(self) -> float:
        """The probability of dropping a candidate value while training. It may be assigned.

        Raises:
            ValueError or TypeError: on assignment, for anything but a number in [0, 1).
        """

    @recurrent_dropout.setter
    @abstractmethod
    def recurrent_dropout(self, probability: float) -> None: ...

    @property
    @abstractmethod
    def state_sizes(self) -> tuple[int, ...]:
        """The width of each tensor of the state, h first."""

    @property
    def candidate_size(self) -> int:
        """How many candidate values one row has in one step: what recurrent dropout drops from."""
        return self.hidden_size

    @property
    @abstractmethod
    def plain(self) -> "PlainCell":
        """The plain cell of this one: itself, or the main network of a hyper network."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Initialise all parameters, as the class's docstring says."""

    @abstractmethod
    def weights(self) -> Any:
        """Everything that `project` and `advance` need, gathered once per call."""

    @abstractmethod
    def project(self, x: Tensor, weights: Any) -> tuple[Tensor, ...]:
        """The products of the input x (N, I) for all time steps at once, each (G, N, ·)."""

    @abstractmethod
    def advance(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: Any, mask: Tensor | None
    ) -> tuple[Tensor, ...]:
        """One time step: from the projected input (each (G, B, ·)) and the state (each (B, ·)) to the new state."""

    def native_parameters(self) -> NativeParameters | None:
        """The operator's weights by its names, and its settings; None if it does not serve them."""
        return None

    def has_own_equations(self) -> bool:
        """Whether a method of this one object was replaced, so that no kernel stands for it."""
        return any(name in self.__dict__ for name in EQUATIONS)

    def compiled_advance(self) -> Callable[..., tuple[Tensor, ...]]:
        """`advance` through torch.compile; one that replaces that of this one object is called as it is."""
        if "advance" in self.__dict__:
            return self.advance
        return partial(compiled(type(self).advance), self)

    def dropout_mask(self, rows: int, like: Tensor) -> Tensor | None:
        """Draw 0 or 1/(1 − p) for every candidate value of every row: recurrent dropout, drawn again at each step.

        None unless training. Semeniuta et al., "Recurrent Dropout without Memory Loss", arXiv 1603.05118.
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
        """The tensors of a state as the user gets them: a NamedTuple, or a bare tensor if h is all of it."""
        return tensors[0] if self.state_type is None else self.state_type(*tensors)

    def state_tensors(self, state: Any) -> Sequence[Tensor]:
        """The tensors of a state that the user passed."""
        if self.state_type is None:
            return (state,)
        if not isinstance(state, tuple | list):
            raise TypeError(f"state should be a tuple ({', '.join(self.state_names)}), got {type(state).__name__}")
        return state

    def forward(
        self,
        x: Tensor,
        state: Any = None,
        steps: TimeSteps | None = None,
        history: list[StepStates] | None = None,
    ) -> tuple[Tensor, Any]:
        """One step: x (B, I) or (I,), state each (B, size) or (size,), zeros if left out -> h, new state.

        A network passes `steps` and runs a whole layer by one call: x (N, I) holds the rows of all time steps, state is each
        (B, size), and the outputs (N, H) and the final state come back. A history then receives the states of every step, on
        the reference path and without dropout.
        """
        run_inner_hooks(self)
        if steps is not None:
            tensors = self.state_tensors(state)
            output, final = (
                run_layer(self, x, steps, tensors)
                if history is None
                else run_steps(self, x, steps, tensors, None, history)
            )
            return output, self.named_state(final)
        weight = self.some_parameter()
        check_input(x, self.input_size, {2: "(batch, input_size)", 1: "(input_size,)"}, weight)
        if state is None:
            tensors = self.zero_state(x, *x.shape[:-1])
        else:
            tensors = self.state_tensors(state)
            leading = x.shape[:-1]
            check_state(tensors, self.state_names, [(*leading, size) for size in self.state_sizes], weight)
        unbatched = x.dim() == 1
        if unbatched:
            x, tensors = x.unsqueeze(0), [tensor.unsqueeze(0) for tensor in tensors]
        tensors = run_step(self, x, tensors)
        if unbatched:
            tensors = [tensor.squeeze(0) for tensor in tensors]
        return tensors[0], self.named_state(tensors)

    def some_parameter(self) -> Tensor:
        """A weight, for its device and dtype: W_x, or the first parameter where W_x is computed from others."""
        plain = self.plain
        weight = plain._parameters.get("weight_x")
        if weight is None:
            weight = next(self.parameters(), None)
        # parameters() is empty where weights are plain tensors, as in DataParallel's replicas
        return plain.weight_x if weight is None else weight

    def shown_settings(self) -> dict[str, Any]:
        """The settings to print: those that are not the default."""
        return {"recurrent_dropout": self.recurrent_dropout} if self.recurrent_dropout else {}

    def extra_repr(self) -> str:
        """The sizes and settings, for printing."""
        settings = [f"{name}={value!r}" for name, value in self.shown_settings().items()]
        return ", ".join([str(self.input_size), str(self.hidden_size), *settings])


class PlainCell(RecurrentCell):
    """A cell with fixed weights: one that a hyper network can have as its main network.

    A subclass gives its parameters, `weights` and the equations: `step`, and the `gates` in it.
    """

    weight_x: nn.Parameter
    """W_x, blocks of (H, I)."""
    weight_h: nn.Parameter
    """All matrices that are multiplied with h: blocks of (H, H)."""
    bias: Any
    """b, None without biases."""
    gate_names: tuple[str, ...]
    """The gates and candidates as the equations name them, in the order of their blocks."""

    def __init__(self, input_size: int, hidden_size: int, recurrent_dropout: float = 0.0) -> None:
        super().__init__(input_size, hidden_size)
        self.recurrent_dropout = recurrent_dropout

    @property
    def recurrent_dropout(self) -> float:
        """The probability of dropping a candidate value while training."""
        return self._recurrent_dropout

    @recurrent_dropout.setter
    def recurrent_dropout(self, probability: float) -> None:
        check_probability("recurrent_dropout", probability, below_one=True)
        self._recurrent_dropout = probability

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The width of each tensor of the state: H."""
        return (self.hidden_size,) * len(self.state_names)

    @property
    def plain(self) -> "PlainCell":
        """Itself."""
        return self

    @staticmethod
    @abstractmethod
    def step(
        wx: Tensor, wh: Tensor, state: Sequence[Tensor], weights: Any, mask: Tensor | None, scales: Any = None
    ) -> tuple[Tensor, ...]:
        """One time step: the new state, from the products of x and of h, each (G, B, H), and the state (each (B, H)).

        wx = W_x x_t + b and wh = W_h h_{t-1}. With scales, wx = W_x x_t and b is a part of scales.b.
        """

    @staticmethod
    @abstractmethod
    def gates(wx: Tensor, wh: Tensor, h: Tensor, weights: Any, scales: Any = None) -> tuple[Tensor, ...]:
        """The gates and candidates of the step, each (B, H), before dropout."""

    def project(self, x: Tensor, weights: Any) -> tuple[Tensor]:
        """W_x x + b for all rows at once, (G, N, H)."""
        gates = weights.weight_x.shape[0] // self.hidden_size
        return (gates_first(F.linear(x, weights.weight_x, weights.bias), gates),)

    def advance(
        self, inputs: Sequence[Tensor], state: Sequence[Tensor], weights: Any, mask: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The product on h, then `step`."""
        gates = weights.weight_h.shape[0] // self.hidden_size
        wh = gates_first(F.linear(state[0], weights.weight_h), gates)
        return self.step(inputs[0], wh, state, weights, mask)

    def shown_settings(self) -> dict[str, Any]:
        """Those of all cells, and bias=False and layer_norm=True."""
        shown = {"bias": False} if self.bias is None else {}
        if getattr(self, "norm", None) is not None:
            shown["layer_norm"] = True
        return shown | super().shown_settings()
