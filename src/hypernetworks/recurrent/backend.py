"""Which path a layer takes: reference, compiled or native; every path gives the reference's numbers.

reference   plain torch, any device and dtype: the equations one to one.
compiled    the same step through torch.compile.
native      C++ kernels for float32 and float64 on the CPU, a whole layer in one call. What they do not serve (another device or
            dtype, autocast, torch.func transforms, networks without a kernel) takes the reference.
triton      Triton kernels for float32, bfloat16 and float16 on CUDA devices; what they do not serve takes the reference.
auto        native or triton where they serve and can be built, else reference: the default.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from .. import torch_compat
from .checks import check_choice
from .native.build import library

BACKENDS = ("auto", "reference", "compiled", "native", "triton")
VARIABLE = "HYPERNETWORKS_BACKEND"

_chosen: ContextVar[str | None] = ContextVar("hypernetworks_backend", default=None)


@torch_compat.constant_in_graphs
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

    name: "reference", "compiled", "native", "triton" or "auto". Errors: ValueError for another.
    """
    check_choice("name", name, BACKENDS)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@functools.cache
def compiled(step: Callable) -> Callable:
    """The step through torch.compile, as one graph: a break in it is an error.

    All networks of a kind share it, whatever their sizes and settings, so it is compiled as often as these ask for.
    """
    run = torch.compile(step, fullgraph=True)

    def compiled_step(*given: Any) -> Any:
        if torch.compiler.is_compiling():
            return step(*given)  # it is being compiled already, as a part of something larger
        with torch_compat.graph_limit(1024, 4096):
            return run(*given)

    return compiled_step


def native_wanted() -> bool:
    """Whether the native path is asked for."""
    return backend() in ("auto", "native")


_DTYPES = (torch.float32, torch.float64)


def native_serves(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the native path serves these tensors, here and now, and is there."""
    return all(tensor is None or _plain(tensor) for tensor in tensors) and not _transformed() and _built()


def _plain(tensor: Tensor) -> bool:
    """A dense tensor of a served dtype on the CPU, whose memory holds the numbers that it stands for."""
    dense = tensor.is_cpu and tensor.layout is torch.strided
    if not (dense and tensor.dtype in _DTYPES and torch_compat.is_ordinary(tensor)):
        return False
    # a tracer cannot see these; what it compiles hands the operator tensors with memory of their own
    return torch.compiler.is_compiling() or torch_compat.stores_its_values(tensor)


def undisturbed() -> bool:
    """Whether a kernel may be called without torch's knowing: nothing traces or transforms it, tensors have memory."""
    watched = torch.compiler.is_compiling() or torch_compat.is_jit_tracing() or _transformed()
    return not watched and not torch_compat.in_dispatch_mode()


def _transformed() -> bool:
    """Under autocast, a torch.func transform, or forward-mode derivatives: these have no rule for a kernel."""
    return torch.is_autocast_enabled("cpu") or torch_compat.in_function_transform() or torch_compat.in_forward_ad()


@torch_compat.constant_in_graphs
def _built() -> bool:
    return library() is not None
