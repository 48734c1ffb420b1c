"""The layer-normalised HyperLSTM of hypernetworks.jax, compiled by XLA.

The forward pass is one compiled program; forward and backward pass together are another.
"""

import os
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import GENERATED, Implementation, NamedTensors, RunResult, hn_names
from hypernetworks.bench.sizes import Quantity
from hypernetworks.recurrent import HyperLSTM

TOLERANCE = 1e-4
"""Looser than between our own paths: XLA uses another order of summation, in float32."""


def is_installed() -> bool:
    """Whether JAX can be imported."""
    return find_spec("jax") is not None


def import_jax(threads: int) -> Any:
    """Import JAX for the CPU. The number of threads takes effect only at the first import in a process."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ["NPROC"] = str(threads)  # XLA reads the size of its thread pools from here when it starts
    import jax  # pyright: ignore[reportMissingImports]

    return jax


class JaxScan(Implementation):
    """The scan with the weights of `case.module`, a HyperLSTM with one layer."""

    name = "jax"
    tolerance: float | None = TOLERANCE

    def __init__(self, case: Case) -> None:
        assert isinstance(case.module, HyperLSTM)
        cell = case.module.cell(0)
        assert cell.main.norm is not None
        self._jax = import_jax(torch.get_num_threads())
        from hypernetworks import jax as hj  # after the number of threads is set

        self._weights = hj.from_torch(cell)
        self._x, self._cotangent = self._array(case.x), self._array(case.cotangent)
        self._zeros = hj.HyperLSTMState(*(self._array(zeros) for zeros in cell.zero_state(case.x, case.size.B)))
        self._forward = partial(hj.hyper_lstm, eps=cell.main.norm.eps)
        self._programs: dict[bool, Any] = {}

    def prepare(self, quantity: Quantity) -> None:
        """Compile the program."""
        self._program(quantity)

    def run(self, quantity: Quantity) -> RunResult:
        """Run the program and wait for its result; in generation, for the result of each step."""
        program, arguments = self._program(quantity)
        if quantity != "generation":
            return RunResult(*self._jax.block_until_ready(program(*arguments)))
        weights, x, zeros = arguments
        result = (None, zeros if self.state is None else self.state)
        for _ in range(GENERATED):
            result = self._jax.block_until_ready(program(weights, x, result[1]))
        self.state: Any = result[1]
        return RunResult(*result)

    def _program(self, quantity: Quantity) -> tuple[Any, tuple[Any, ...]]:
        """The compiled program and its arguments."""
        with_gradients = quantity in ("training", "memory")
        arguments = (self._weights, self._x, self._zeros)
        if with_gradients:
            arguments = (*arguments, self._cotangent)
        if with_gradients not in self._programs:
            function = self._with_gradients if with_gradients else self._forward
            self._programs[with_gradients] = self._jax.jit(function).lower(*arguments).compile()
        return self._programs[with_gradients], arguments

    def _with_gradients(self, weights: Any, x: Any, state: Any, cotangent: Any) -> Any:
        run = lambda weights, x: self._forward(weights, x, state)  # noqa: E731
        output, pull, state = self._jax.vjp(run, weights, x, has_aux=True)
        return output, state, pull(cotangent)

    def named(self, result: RunResult) -> NamedTensors:
        """Output, state and gradients as torch tensors."""
        gradients, of_x = result.gradients if result.gradients else ({}, None)
        named = {f"cells.0.{name}": _tensor(gradient) for name, gradient in gradients.items()}
        state = tuple(_tensor(array) for array in result.state)
        return hn_names(_tensor(result.output), state, () if of_x is None else (_tensor(of_x),), named)

    def _array(self, tensor: Tensor) -> Any:
        return self._jax.numpy.array(tensor.detach().numpy())


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))
