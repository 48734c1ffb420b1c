"""What a module holds in place of a parameter while forms are applied: a tensor that has a form, but no values.

torch calls `Slot.__torch_function__` for every function that is given one. `served/` has the functions that know forms; any
other raises NotServedError, after which the weights are made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from typing import Any, Protocol

import torch
from torch import Tensor

from hypernetworks.torch_compat import in_custom_function, tensor_without_values, without_subclasses
from hypernetworks.weights.forms import Form
from hypernetworks.weights.layout import Layout


class NotServedError(Exception):
    """A target does something with a weight, or with its samples, that forms do not serve. The weights are made instead."""


class Calls(Protocol):
    """Says where the samples are in what a function is given."""

    def rows(self, name: str, function: str, x: Tensor, dims: Iterable[int]) -> Layout:
        """The layout of x, which the function is given with the parameter `name`. It is in one of the dimensions `dims`."""
        ...

    def lookup(self, name: str, index: Tensor) -> tuple[Tensor, Layout]:
        """An index into the rows of the parameter `name`, and its layout. What all samples share may be repeated for each."""
        ...


FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""The functions of torch that know forms, each with what is called instead."""

PROPERTIES: set[Callable[..., Any]] = {
    getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "is_cuda", "layout")
} | {
    *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_complex, Tensor.get_device),
    *(torch.is_floating_point, torch.is_complex, torch.numel, Tensor.__len__, Tensor.ndimension, Tensor.element_size),
}
"""What can be asked of a slot as of any tensor."""


_REQUIRES_GRAD = Tensor.requires_grad.__get__  # pyright: ignore[reportAttributeAccessIssue]


class Slot(Tensor):
    """A parameter `name` that is given as a form, or as its transpose."""

    form: Form
    parameter: str
    calls: Calls
    transposed: bool
    takes_gradients: bool
    """Whether the made tensor would require gradients. The form does not in a probe."""

    @staticmethod
    def of(form: Form, name: str, calls: Calls, takes_gradients: bool, transposed: bool = False) -> "Slot":
        """A slot for a form."""
        shape = form.shape[::-1] if transposed else form.shape
        slot = tensor_without_values(Slot, shape, form.like)
        slot.form, slot.parameter, slot.calls, slot.transposed = form, name, calls, transposed
        slot.takes_gradients = takes_gradients
        return slot

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what serves the function."""
        if func in PROPERTIES:
            with without_subclasses():
                return func(*args, **(kwargs or {}))
        if func == _REQUIRES_GRAD:
            return args[0].takes_gradients
        if not torch.is_grad_enabled() and in_custom_function():
            # it would pass the gradient to the slot, not to the form
            raise NotServedError("a generated parameter is given to a torch.autograd.Function")
        serve = FUNCTIONS.get(func)
        if serve is None:
            raise NotServedError(f"{getattr(func, '__name__', func)} is called on a generated parameter")
        try:
            return serve(*args, **(kwargs or {}))
        except TypeError:
            why = _mismatch(serve, args, kwargs or {})
            if why is None:
                raise
        raise NotServedError(f"{getattr(func, '__name__', func)} of a generated parameter {why}")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A slot has no values: nothing can be computed from them."""
        raise NotServedError(f"{func} is called on a generated parameter")

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Slot({self.parameter!r}, {type(self.form).__name__})"


def _mismatch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Why a function cannot be called with these arguments; None if it can."""
    try:
        signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return None
