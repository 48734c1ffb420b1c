"""Which path a layer takes: reference, compiled or native; every path gives the reference's numbers.

reference   plain torch, any device and dtype: the equations one to one.
compiled    the same step through torch.compile: the path for accelerators.
native      C++ kernels for float32 and float64 on the CPU, a whole layer in one call. What they do not serve (another device or
            dtype, autocast, torch.func transforms, networks without a kernel) takes the reference.
auto        native where it serves and can be built, else reference: the default.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

from .checks import check_choice
from .native.build import library

BACKENDS = ("auto", "reference", "compiled", "native")
VARIABLE = "HYPERNETWORKS_BACKEND"

_chosen: ContextVar[str | None] = ContextVar("hypernetworks_backend", default=None)


@torch.compiler.assume_constant_result
def backend() -> str:
    """The path that is asked for: by the innermost use_backend, else by $HYPERNETWORKS_BACKEND, else auto.

    What torch.compile has compiled keeps the path that was asked for when it was traced.
    """
    name = _chosen.get()
    if name is None:
        name = os.environ.get(VARIABLE) or "auto"
        check_choice(VARIABLE, name, BACKENDS)
    return name


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Within `with hn.use_backend(name):` all networks of this thread take the path `name`.

    name: "reference", "compiled", "native" or "auto". Errors: ValueError for another.
    """
    check_choice("name", name, BACKENDS)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@functools.cache
def compiled(step: Callable) -> Callable:
    """The step through torch.compile, as one graph: a break in it is an error."""
    return torch.compile(step, fullgraph=True)


def native_wanted() -> bool:
    """Whether the native path is asked for."""
    return backend() in ("auto", "native")


_KINDS = (Tensor, nn.Parameter, FakeTensor)
_DTYPES = (torch.float32, torch.float64)


def native_serves(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the native path serves these tensors, here and now, and is there."""
    for tensor in tensors:
        if tensor is not None and not (tensor.is_cpu and tensor.dtype in _DTYPES and type(tensor) in _KINDS):
            return False
    return not _transformed() and _built()


def _transformed() -> bool:
    """Under autocast, a torch.func transform, or forward-mode derivatives: these have no rule for a kernel."""
    return (
        torch.is_autocast_enabled("cpu")
        or torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]
        or forward_ad._current_level >= 0
    )


@torch.compiler.assume_constant_result
def _built() -> bool:
    return library() is not None
