"""An implementation: something that computes a network, run and compared in the same way whoever wrote it.

A training step is forward, and the gradients of Σ output ⊙ cotangent with respect to the input and every parameter.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import hypernetworks as hn
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.recurrent.layer import RecurrentNetwork
from hypernetworks.text.model import ModelConfig, Network, make_network

SEED = 0
DEPTH = 5
"""Of the RHN and the HyperRHN, as hn.RHN has it by default."""
GENERATED = 8
"""How many steps, one after another, a run of generation takes; its time is told for one."""

TOLERANCE = 1e-5
"""Between the paths of this package, in float32."""

NamedTensors = dict[str, Tensor]


class Case(NamedTuple):
    """A network of this package with its default initialisation, an input (T, B, I) and a cotangent (T, B, H)."""

    network: Network
    size: Size
    module: RecurrentNetwork
    x: Tensor
    cotangent: Tensor

    def double(self) -> "Case":
        """The same numbers in float64."""
        module = make(self.network, self.size).double()
        module.load_state_dict(self.module.state_dict())
        x = self.x.detach().double().requires_grad_()
        return self._replace(module=module, x=x, cotangent=self.cotangent.double())


def make(network: Network, size: Size) -> RecurrentNetwork:
    """A network of this size, in float32."""
    config = ModelConfig(
        network=network, hidden_size=size.H, hyper_size=size.K, hyper_embedding_size=size.Z, depth=DEPTH
    )
    return make_network(config, size.I)


def make_case(network: Network, size: Size) -> Case:
    """A case; the same numbers at every call."""
    torch.manual_seed(SEED)
    module = make(network, size)
    x = torch.randn(size.T, size.B, size.I, requires_grad=True)
    return Case(network, size, module, x, torch.randn(size.T, size.B, size.H))


class RunResult(NamedTuple):
    """What a run gave, in its author's own form."""

    output: Any = None
    state: Any = None
    gradients: Any = ()


class Implementation(ABC):
    """Something that can be timed; `name` stands in the table."""

    name: str
    flops: Mapping[Quantity, int] = {}
    """How many floating-point operations a run takes, where that is known."""
    tolerance: float | None = None
    """Its tensors are the reference's within max|a − b| ≤ tolerance · max(1, max|b|); None: its numbers are its own."""
    state: Any = None
    """What generation carries on from one run to the next."""

    @abstractmethod
    def run(self, quantity: Quantity) -> RunResult:
        """Do once what is timed: a forward pass, a training step, or GENERATED steps of generation."""

    def prepare(self, quantity: Quantity) -> None:  # noqa: B027  most need nothing
        """Do what a first run would do besides."""

    def named(self, result: RunResult) -> NamedTensors:
        """The tensors of a result under the names that `hn_names` gives; none where there is nothing to compare."""
        return {}

    def results(self, quantity: Quantity) -> NamedTensors:
        """All that a run gives; of generation, the last of its steps from the zero state."""
        self.state = None
        return self.named(self.run(quantity))


class TorchImplementation(Implementation):
    """A torch module, called as `output, state = call(x, state)`, with the gradients of `parameters`.

    It takes the path `path` where it is of this package, and is compared with its reference after `named_gradients`.
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
        self.name, self.tolerance = name, tolerance
        self._call, self._path, self._cotangent = call, path, cotangent
        self._x, self._parameters = x, dict(parameters)
        self._named_gradients = named_gradients

    def run(self, quantity: Quantity) -> RunResult:
        """Output, state and, of a training step, gradients."""
        with torch.set_grad_enabled(quantity in ("training", "memory")), hn.use_backend(self._path):
            if quantity == "generation":
                result = RunResult(state=self.state)
                for _ in range(GENERATED):
                    result = RunResult(*self._call(self._x, result.state))
                self.state = result.state
                return result
            output, state = self._call(self._x, None)
            if not torch.is_grad_enabled():
                return RunResult(output, state)
            inputs = [self._x, *self._parameters.values()]
            return RunResult(output, state, torch.autograd.grad(output, inputs, self._cotangent))

    def prepare(self, quantity: Quantity) -> None:
        """Let the compiled path compile."""
        if self._path == "compiled":
            self.run(quantity)

    def named(self, result: RunResult) -> NamedTensors:
        """Output, state and gradients."""
        gradients = dict(zip(self._parameters, result.gradients[1:], strict=True)) if result.gradients else {}
        named = self._named_gradients(gradients) if gradients else {}
        return hn_names(result.output, result.state, result.gradients[:1], named)


def hn_names(output: Tensor, state: Any, x_gradient: Sequence[Tensor], gradients: Mapping[str, Tensor]) -> NamedTensors:
    """What every implementation calls its tensors; a state's have numbers, whatever shape of layers stands before (B, ·)."""
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


def torch_lstm(case: Case) -> TorchImplementation:
    """torch.nn.LSTM of the same size: what times are divided by. Its numbers are its own and compared with nothing."""
    lstm = torch.nn.LSTM(case.size.I, case.size.H)
    parameters = dict(lstm.named_parameters())
    return TorchImplementation("nn.LSTM", lstm, parameters, case.x, case.cotangent, tolerance=None)


def torch_lstm_cell(case: Case) -> TorchImplementation:
    """torch.nn.LSTMCell of the same size."""
    cell = torch.nn.LSTMCell(case.size.I, case.size.H)

    def call(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = cell(x, state)
        return state[0], state

    parameters = dict(cell.named_parameters())
    return TorchImplementation("nn.LSTMCell", call, parameters, case.x[0].detach(), case.cotangent, tolerance=None)
