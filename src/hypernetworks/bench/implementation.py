"""What is benchmarked: implementations of a network, which are all run and compared in the same way.

A training step is a forward pass, and the gradients of Σ output ⊙ cotangent with respect to the input and every parameter.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import hypernetworks as hn
from hypernetworks.bench.case import Case
from hypernetworks.bench.sizes import Quantity

GENERATED = 8
"""Consecutive steps in one run of generation. The reported time is that of one step."""

TOLERANCE = 1e-5
"""Between the paths of this package, in float32."""

NamedTensors = dict[str, Tensor]


class RunResult(NamedTuple):
    """What a run returned, in the implementation's own types."""

    output: Any = None
    state: Any = None
    gradients: Any = ()


class Implementation(ABC):
    """Something that can be timed. `name` is its name in the table."""

    name: str
    flops: Mapping[Quantity, int] = {}
    """Floating-point operations of a run, if known."""
    tolerance: float | None = None
    """Its tensors must satisfy max|a − b| ≤ tolerance · max(1, max|b|), b the reference's. None: they are not compared."""
    state: Any = None
    """The state that generation carries from one run to the next."""

    @abstractmethod
    def run(self, quantity: Quantity) -> RunResult:
        """Do once what is timed: a forward pass, a training step, or GENERATED steps of generation."""

    def prepare(self, quantity: Quantity) -> None:  # noqa: B027  most need nothing
        """Do the one-time work of a first run, such as compiling."""

    def named(self, result: RunResult) -> NamedTensors:
        """The tensors of a result under the names of `hn_names`; empty if there is nothing to compare."""
        return {}

    def results(self, quantity: Quantity) -> NamedTensors:
        """Everything that a run computes; for generation, the last of its steps from the zero state."""
        self.state = None
        return self.named(self.run(quantity))


class TorchImplementation(Implementation):
    """A torch module, called as `output, state = call(x, state)`, with the gradients of `parameters`.

    A network of this package runs on the backend `path`. `named_gradients` converts the gradients to the reference's names.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[Tensor, Any], tuple[Tensor, Any]],
        parameters: Mapping[str, Tensor],
        x: Tensor,
        cotangent: Tensor,
        *,
        path: str = "reference",
        tolerance: float | None = TOLERANCE,
        named_gradients: Callable[[NamedTensors], NamedTensors] = dict,
    ) -> None:
        self.name: str = name
        self.tolerance: float | None = tolerance
        self._call, self._path, self._cotangent = call, path, cotangent
        self._x, self._parameters = x, dict(parameters)
        self._named_gradients = named_gradients

    def run(self, quantity: Quantity) -> RunResult:
        """Compute output and state, and for a training step the gradients."""
        with torch.set_grad_enabled(quantity in ("training", "memory")), hn.use_backend(self._path):
            if quantity == "generation":
                result = RunResult(state=self.state)
                for _ in range(GENERATED):
                    result = RunResult(*self._call(self._x, result.state))
                self.state: Any = result.state
                return result
            output, state = self._call(self._x, None)
            if not torch.is_grad_enabled():
                return RunResult(output, state)
            inputs = [self._x, *self._parameters.values()]
            return RunResult(output, state, torch.autograd.grad(output, inputs, self._cotangent))

    def prepare(self, quantity: Quantity) -> None:
        """Compile, on the compiled path."""
        if self._path == "compiled":
            self.run(quantity)

    def named(self, result: RunResult) -> NamedTensors:
        """Output, state and gradients."""
        gradients = dict(zip(self._parameters, result.gradients[1:], strict=True)) if result.gradients else {}
        named = self._named_gradients(gradients) if gradients else {}
        return hn_names(result.output, result.state, result.gradients[:1], named)


def hn_names(output: Tensor, state: Any, x_gradient: Sequence[Tensor], gradients: Mapping[str, Tensor]) -> NamedTensors:
    """The names under which tensors are compared. State tensors are numbered; their leading dimensions are flattened."""
    states = (state,) if isinstance(state, Tensor) else tuple(state)
    named = {"output": output.flatten(0, -2)}
    named |= {f"final state {k}": tensor.flatten(0, -2) for k, tensor in enumerate(states)}
    named |= dict(zip(["gradient of the input"], x_gradient, strict=False))
    named |= {f"gradient of {name}": gradient for name, gradient in gradients.items()}
    return {name: tensor.detach() for name, tensor in named.items()}


def our_network(case: Case, path: str) -> TorchImplementation:
    """A network of this package on one of its paths."""
    return TorchImplementation(
        path, case.module, dict(case.module.named_parameters()), case.x, case.cotangent, path=path
    )


def our_cell(case: Case, path: str) -> TorchImplementation:
    """Its cell, which reads one (B, I)."""
    cell = case.module.cell(0)
    return TorchImplementation(
        f"{path} cell",
        cell,
        dict(cell.named_parameters()),
        case.x[0].detach(),
        case.cotangent,
        path=path,
    )


class OurStepper(Implementation):
    """A stepper of this package that stores the weights as `weights`. The results of a reduced storage are not compared."""

    def __init__(self, case: Case, weights: str) -> None:
        self.name: str = f"step {weights}"
        self.tolerance: float | None = TOLERANCE if weights == "float32" else None
        self._x = case.x[0].detach()
        with hn.use_backend("native"):
            self._step = case.module.stepper(case.size.B, weights)

    def run(self, quantity: Quantity) -> RunResult:
        """GENERATED steps; the stepper keeps the state."""
        if self.state is None:
            self._step.reset()
            self.state: Any = self._step
        output = None
        for _ in range(GENERATED):
            output = self._step(self._x)
        return RunResult(output)

    def named(self, result: RunResult) -> NamedTensors:
        """Output and state."""
        return hn_names(result.output, self._step.state, (), {}) if self.tolerance is not None else {}


def torch_network(case: Case, kind: str) -> TorchImplementation:
    """torch.nn.LSTM, nn.GRU or nn.RNN of the same size. Its weights differ, so its results are not compared."""
    network = getattr(torch.nn, kind)(case.size.I, case.size.H)
    parameters = dict(network.named_parameters())
    return TorchImplementation(f"nn.{kind}", network, parameters, case.x, case.cotangent, tolerance=None)


def torch_cell(case: Case, kind: str) -> TorchImplementation:
    """torch.nn.LSTMCell, nn.GRUCell or nn.RNNCell of the same size."""
    cell = getattr(torch.nn, f"{kind}Cell")(case.size.I, case.size.H)

    def call(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = cell(x, state)
        return (state[0] if isinstance(state, tuple) else state), state

    parameters = dict(cell.named_parameters())
    return TorchImplementation(f"nn.{kind}Cell", call, parameters, case.x[0].detach(), case.cotangent, tolerance=None)
