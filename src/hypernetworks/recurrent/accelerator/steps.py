"""The steps of the reference path in CUDA graphs: one for the forward pass of a layer, one for its backward pass.

It serves layers that the Triton kernels do not: other cells, float64, large sizes, machines without triton. The step is
compiled by torch.compile where triton is there, which its compiler needs.

The graph of the backward pass begins with the forward pass, from the same inputs. So a call keeps its inputs alone until its
backward pass, and all intermediate values stay in the memory of the graph.
"""

import functools
import importlib.util
import itertools
import logging
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import torch_compat
from ..backend import undisturbed, use_backend
from .graphs import Recorder, on_device, pool

if TYPE_CHECKING:
    from ..cell import RecurrentCell

logger: logging.Logger = logging.getLogger(__name__)

RunSteps = Callable[["RecurrentCell", Tensor, Sequence[Tensor], Tensor | None], tuple[Tensor, Sequence[Tensor]]]
"""Runs all steps of a cell, (cell, x, state, mask) -> (outputs, final state)."""

_numbers = itertools.count()
_cells: "weakref.WeakKeyDictionary[RecurrentCell, int]" = weakref.WeakKeyDictionary()
"""A number for each cell that was captured or may be: a key that does not keep the cell alive."""


def refusal(cell: "RecurrentCell", weights: Sequence[Tensor], x: Tensor, state: Sequence[Tensor]) -> str | None:
    """Why the steps of a cell cannot be captured; None where they can."""
    if not undisturbed() or torch.is_autocast_enabled("cuda"):
        return "something traces or transforms the call, or autocast is on"
    if x.is_cuda and torch.cuda.is_current_stream_capturing():
        return "the call is a part of another CUDA graph"
    if x.shape[0] == 0:
        return "an empty batch"
    own = {id(parameter) for parameter in cell.parameters()}
    if any(id(weight) not in own for weight in weights):
        return "weights that are not the cell's own parameters"
    if any(tensor.device != x.device for tensor in (*state, *cell.parameters())):
        return "tensors of different devices"
    return None


def run(
    cell: "RecurrentCell",
    x: Tensor,
    state: Sequence[Tensor],
    mask: Tensor | None,
    form: tuple[Any, ...],
    run_steps: RunSteps,
) -> tuple[Tensor, ...] | None:
    """Output and final state by replaying a graph; None where there is none yet, or none can be captured.

    form: everything besides the tensors' shapes that `run_steps` depends on.
    """
    names, parameters = zip(*cell.named_parameters(), strict=True)
    tensors = [x, *state, *([] if mask is None else [mask]), *parameters]
    save = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    stream = torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0
    shapes = tuple((tuple(tensor.shape), tensor.dtype, tensor.device, tensor.requires_grad) for tensor in tensors)
    key = (_number(cell), form, cell.training, len(state), shapes, save, stream)

    reference = weakref.ref(cell)  # what is captured does not keep the cell alive

    def steps(given: Sequence[Tensor]) -> list[Tensor]:
        cell = reference()
        assert cell is not None
        inputs, weights = given[: -len(names)], dict(zip(names, given[-len(names) :], strict=True))
        with torch_compat.replaced_tensors(cell, weights):
            rest = inputs[1 + len(state) :]
            output, final = run_steps(cell, inputs[0], inputs[1 : 1 + len(state)], rest[0] if rest else None)
        return [output, *final]

    with pool.lock, on_device(x):
        captured = pool.get(key, functools.partial(_capture, steps, tensors, save))
    return None if captured is None else _Replay.apply(captured, pool.lock, *tensors)  # pyright: ignore[reportReturnType]


def description() -> str:
    """What runs, in words."""
    return f"the {'compiled ' if compiles() else ''}step in one CUDA graph"


def compiles() -> bool:
    """Whether torch.compile has what it needs to compile for a CUDA device."""
    return importlib.util.find_spec("triton") is not None and not _broken


_broken: list[str] = []
"""Why torch.compile failed, if it did."""


def _capture(steps: Callable, tensors: Sequence[Tensor], save: bool, record: Recorder) -> "CapturedSteps":
    """Captured steps, compiled where that works."""
    if compiles():
        try:
            captured = CapturedSteps(steps, tensors, save, "compiled")
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _broken.append(str(error))
            logger.warning("torch.compile failed, steps are captured in CUDA graphs without it: %s", error)
        else:
            captured.record(record)
            return captured
    captured = CapturedSteps(steps, tensors, save, "reference")
    captured.record(record)
    return captured


class CapturedSteps:
    """All steps of a layer on tensors of their own, run once."""

    def __init__(self, steps: Callable, like: Sequence[Tensor], save: bool, path: str) -> None:
        self._steps, self._path, self._save = steps, path, save
        self.inputs: list[Tensor] = [
            tensor.detach().clone().requires_grad_(save and tensor.requires_grad) for tensor in like
        ]
        self.answer: list[Tensor] = [torch.zeros_like(tensor, requires_grad=False) for tensor in self._run()]
        self.forward = self._forward
        self.backward = self._backward
        if save:
            self.came: list[Tensor] = [torch.zeros_like(tensor) for tensor in self.answer]
            self.grads: list[Tensor] = [torch.zeros_like(tensor, requires_grad=False) for tensor in self._leaves()]
            self._backward()

    def record(self, record: Recorder) -> None:
        """Record both passes."""
        self.forward: Callable[[], None] = record(self._forward)
        if self._save:
            self.backward: Callable[[], None] = record(self._backward)

    def _leaves(self) -> list[Tensor]:
        return [tensor for tensor in self.inputs if tensor.requires_grad]

    def _run(self) -> list[Tensor]:
        with use_backend(self._path):
            return self._steps(self.inputs)

    def _forward(self) -> None:
        with torch.no_grad():
            for to, tensor in zip(self.answer, self._run(), strict=True):
                to.copy_(tensor)

    def _backward(self) -> None:
        with torch.enable_grad():
            grads = torch.autograd.grad(
                self._run(), self._leaves(), self.came, materialize_grads=True, allow_unused=True
            )
        for to, gradient in zip(self.grads, grads, strict=True):
            to.copy_(gradient)


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, captured: CapturedSteps, lock: Any, *tensors: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.captured, ctx.lock = captured, lock
        ctx.save_for_backward(*tensors)
        with lock, on_device(tensors[0]):
            _fill(captured.inputs, tensors)
            captured.forward()
            return tuple(tensor.clone() for tensor in captured.answer)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *came: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        captured: CapturedSteps = ctx.captured
        with ctx.lock, on_device(came[0]):
            _fill(captured.inputs, ctx.saved_tensors)
            _fill(captured.came, came)
            captured.backward()
            grads = iter([gradient.clone() for gradient in captured.grads])
        return None, None, *(next(grads) if tensor.requires_grad else None for tensor in captured.inputs)


@torch.no_grad()
def _fill(tensors: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    for tensor, other in zip(tensors, source, strict=True):
        tensor.copy_(other)


def _number(cell: "RecurrentCell") -> int:
    """The number of a cell. What was captured for it is dropped when the cell is freed."""
    if cell not in _cells:
        number = _cells[cell] = next(_numbers)
        weakref.finalize(cell, pool.drop, lambda key: isinstance(key, tuple) and key[0] == number)
    return _cells[cell]
