"""The call of a kernel for one step, with everything in place that does not change from step to step.

A step of one row reads each weight once, which takes about a tenth of a millisecond and pushes all else out of the processor's
cache: whatever Python touches between two steps is slow. So a plan touches little. It notes which attributes of which modules
it was made from, what these tensors are, and where they lie; a step asks whether all of that is still so.
"""

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from .call import Kernel

try:  # what torch.compile looks at tensors with, many in one call. It is private: a torch without it goes without plans
    from torch._C._dynamo.guards import TensorGuards
except ImportError:
    TensorGuards = None


def can_plan() -> bool:
    """Whether there are plans."""
    return TensorGuards is not None


class Reading:
    """Reads attributes of modules, `reading(module, name)`, and tells whether they would read the same again."""

    def __init__(self) -> None:
        self._places: list[tuple[dict[str, Any], str]] = []
        self._values: list[Any] = []
        self._all_noted = True

    def __call__(self, module: nn.Module, name: str) -> Any:
        """The attribute, as getattr gives it."""
        for place in (module._parameters, module._modules, module.__dict__):
            if name in place:
                self._places.append((place, name))
                self._values.append(place[name])
                return place[name]
        self._all_noted = False  # it is computed anew each time: a parametrization
        return getattr(module, name)

    def holds(self) -> bool:
        """Whether each attribute is the object that it was."""
        try:
            now = [place[name] for place, name in self._places]
        except KeyError:
            return False
        return self._all_noted and all(map(is_, now, self._values))


class Guard:
    """What tensors are and, of the first `fixed` of them, where they lie.

    Nothing that a tensor can be is left out: type, dtype, device, shape, strides, the transforms that it is under, and whether
    its memory holds the numbers that it stands for.
    """

    def __init__(self, tensors: Sequence[Tensor], fixed: int) -> None:
        self._count, self._fixed = len(tensors), fixed
        self._places = [tensor.data_ptr() for tensor in tensors[:fixed]]
        assert TensorGuards is not None
        self._guards = TensorGuards(
            *tensors,
            dynamic_dims_sizes=[list(tensor.shape) for tensor in tensors],  # pyright: ignore[reportArgumentType]
            dynamic_dims_strides=[list(tensor.stride()) for tensor in tensors],  # pyright: ignore[reportArgumentType]
        )

    def holds(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all of that is so of these tensors."""
        if len(tensors) != self._count or not self._guards.check(*tensors):
            return False
        return [tensor.data_ptr() for tensor in tensors[: self._fixed]] == self._places


class Plan:
    """`run(given)`, x and the state before a step -> the state after it, while `fits(given)` holds."""

    def __init__(
        self,
        kernel: Kernel,
        function: str,
        weights: Sequence[Tensor],
        given: Mapping[str, Tensor],
        fields: Mapping[str, Any],
        answer: Sequence[str],
        reading: Reading,
    ) -> None:
        self._weights = weights
        self._threads = torch.get_num_threads()
        self._reading = reading
        self._guard = Guard((*weights, *given.values()), len(weights))
        self._given, self._answer = list(given), list(answer)
        self._function = kernel.bind(function, weights[0].dtype)
        # the call holds the addresses of batch_sizes, and of copies of weights that do not lie in one piece
        self._kept = [value for name, value in fields.items() if isinstance(value, Tensor) and name not in given]
        self._call = kernel.fill({name: value for name, value in fields.items() if name not in given})
        self._room = self._function(ctypes.byref(self._call))
        self._idle: list[tuple[Any, Tensor]] = []
        self.lasts = all(weight.is_contiguous() and isinstance(weight, nn.Parameter) for weight in weights)
        """Whether it may hold again: a copy of a weight, or a weight that was made for one call, is good for once."""

    def fits(self, given: Sequence[Tensor]) -> bool:
        """Whether the modules have the weights that the plan was made for, and x and the state are of its kind."""
        if not self.lasts or self._threads != torch.get_num_threads() or not self._reading.holds():
            return False
        return self._guard.holds((*self._weights, *given))

    def run(self, given: Sequence[Tensor]) -> list[Tensor]:
        """The state after the step, in fresh tensors."""
        # two threads of Python have each a call and memory of their own
        call, workspace = self._idle.pop() if self._idle else self._another_call()
        for name, tensor in zip(self._given, given, strict=True):
            setattr(call, name, tensor.data_ptr())
        results = [torch.empty_like(tensor) for tensor in given[1:]]
        for name, tensor in zip(self._answer, results, strict=True):
            setattr(call, name, tensor.data_ptr())
        self._function(ctypes.byref(call))
        call.turned ^= 1  # the next step begins with the weights that this one ends with: step.h
        self._idle.append((call, workspace))
        return results

    def _another_call(self) -> tuple[Any, Tensor]:
        call = type(self._call).from_buffer_copy(self._call)
        workspace = torch.empty(self._room, dtype=self._weights[0].dtype, device="cpu")
        call.workspace = workspace.data_ptr()
        return call, workspace


class PlanOf:
    """Where a cell keeps the plan of its last step; a copy of the cell begins without one."""

    def __init__(self) -> None:
        self._owner: weakref.ref[nn.Module] | None = None
        self._plan: Plan | None = None

    def __reduce__(self) -> tuple[type["PlanOf"], tuple[()]]:
        return PlanOf, ()

    def get(self, cell: nn.Module) -> Plan | None:
        """The plan, if it is this cell's and not that of another with the same attributes."""
        return self._plan if self._owner is not None and self._owner() is cell else None

    def set(self, cell: nn.Module, plan: Plan) -> None:
        """Keep the plan in place of the one before."""
        self._owner, self._plan = weakref.ref(cell), plan
