"""The table of functions that know forms, and what they have in common."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from hypernetworks.weights.layout import Layout
from hypernetworks.weights.per_sample.slots import FUNCTIONS, NotServedError, Slot


def serves(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what is called instead of the functions when a slot is among their arguments."""

    def register(serve: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, serve))
        return serve

    return register


def no_slot(*tensors: Any) -> None:
    """Check that none of the arguments is a slot."""
    if any(isinstance(tensor, Slot) for tensor in tensors):
        raise NotServedError("a generated parameter is an argument where an activation is usual")


def rows_of(function: str, x: Tensor, dims: Sequence[int], *parameters: Tensor | None) -> Layout:
    """Where the samples are in x, which a function is given with these parameters."""
    no_slot(x)
    slot = next(parameter for parameter in parameters if isinstance(parameter, Slot))
    return slot.calls.rows(slot.parameter, function, x, dims)


def vectors(slot: Slot) -> Tensor:
    """The vector of each sample, (B, *shape)."""
    return slot.form.materialize()


def with_vector(
    operation: Callable[[Tensor, Tensor], Tensor], y: Tensor, v: Tensor | None, rows: Layout, channel: int | None = None
) -> Tensor:
    """operation(y_n, v_n), or operation(y, v) for a vector that is not generated; y without a vector."""
    if v is None:
        return y
    if isinstance(v, Slot):
        return rows.combine(operation, y, vectors(v).to(y.dtype), channel).to(y.dtype)
    shape = (1, -1) + (1,) * (y.dim() - 2) if channel == 1 else v.shape
    return operation(y, v.reshape(shape).to(y.dtype))
