"""Sums, products and quotients of an activation and a generated vector."""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.torch_compat import without_overrides
from hypernetworks.weights.forms import Full
from hypernetworks.weights.per_sample.served.register import rows_of, serves, vectors
from hypernetworks.weights.per_sample.slots import FUNCTIONS, NotServedError, Slot


def elementwise(operation: Callable[[Any, Any], Tensor]) -> Callable[..., Tensor]:
    """What is called instead of an operation on an activation and a vector, in either order."""

    def serve(input: Any, other: Any) -> Tensor:
        x, slot, swapped = (other, input, True) if isinstance(input, Slot) else (input, other, False)
        ordered = (lambda a, b: operation(b, a)) if swapped else operation
        if isinstance(x, int | float) and isinstance(slot.form, Full):
            made = Full(ordered(x, slot.form.tensor))
            return Slot.of(made, slot.parameter, slot.calls, slot.takes_gradients, slot.transposed)
        if not isinstance(x, Tensor) or isinstance(x, Slot) or slot.transposed:
            raise NotServedError("arithmetic on a generated parameter itself")
        # the samples cannot be in a dimension in which the vector differs from entry to entry
        own = [x.dim() - slot.dim() + k for k, size in enumerate(slot.shape) if size != 1]
        free = range(min(own, default=x.dim()))
        if slot.dim() > x.dim() or any(x.shape[dim] not in (1, size) for dim, size in _aligned(x, slot)):
            raise NotServedError("arithmetic that gives an activation more entries")
        if any(x.shape[dim] < size for dim, size in _aligned(x, slot)):
            raise NotServedError("arithmetic that gives an activation more entries")
        rows = rows_of(operation.__name__, x, free, slot)
        return rows.combine(ordered, x, vectors(slot))

    return serve


def _aligned(x: Tensor, slot: Slot) -> list[tuple[int, int]]:
    """The dimensions of x in which a vector has entries, and how many."""
    return [(x.dim() - slot.dim() + k, size) for k, size in enumerate(slot.shape) if size != 1]


serves(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, operator.add)(elementwise(torch.add))
serves(torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, operator.mul)(elementwise(torch.mul))
serves(torch.sub, Tensor.sub, Tensor.__sub__, operator.sub)(elementwise(torch.sub))
serves(torch.div, Tensor.div, Tensor.__truediv__, operator.truediv)(elementwise(torch.div))
serves(Tensor.__rsub__)(lambda slot, x: FUNCTIONS[torch.sub](x, slot))
serves(Tensor.__rdiv__, Tensor.__rtruediv__)(lambda slot, x: FUNCTIONS[torch.div](x, slot))
serves(F.multi_head_attention_forward)(without_overrides(F.multi_head_attention_forward))
