"""Which path a layer takes: reference, compiled or native; every path gives the reference's numbers.

reference   plain torch, any device and dtype: the equations one to one.
compiled    the same step through torch.compile: the path for accelerators.
native      C++ kernels for float32 and float64 on the CPU, a whole layer in one call. What they do not serve (another device or
            dtype, autocast, torch.func transforms, networks without a kernel) takes the reference.
auto        native where it serves and can be built, else reference: the default.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
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


def backend() -> str:
    """The path that is asked for: by the innermost use_backend, else by $HYPERNETWORKS_BACKEND, else auto."""
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


def takes_native(tensors: Sequence[Tensor]) -> bool:
    """Whether the native path is asked for, serves these tensors as they are, and is there."""
    if backend() not in ("auto", "native"):
        return False
    kinds = (Tensor, nn.Parameter, FakeTensor)
    plain = all(
        tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) and type(tensor) in kinds
        for tensor in tensors
    )
    return plain and not _transformed() and _built()


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
