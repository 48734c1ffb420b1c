"""The paths that compute a layer: reference, compiled and native. Every path gives the reference's numbers.

reference   plain torch, any device and dtype: the equations one to one.
compiled    the same step through torch.compile.
native      C++ kernels for float32 and float64 on the CPU, a whole layer in one call. Whatever they do not support (another
            device or dtype, autocast, torch.func transforms, networks without a kernel) takes the reference path.
triton      Triton kernels for float32, bfloat16 and float16 on CUDA devices. Whatever they do not support takes the reference
            path.
auto        native or triton if it supports the call and can be built; on a CUDA device otherwise the compiled step in one CUDA
            graph; else reference: the default.
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
from .native.kernels import library

BACKENDS = ("auto", "reference", "compiled", "native", "triton")
VARIABLE = "HYPERNETWORKS_BACKEND"

_chosen: ContextVar[str | None] = ContextVar("hypernetworks_backend", default=None)


@torch_compat.constant_in_graphs
def backend() -> str:
    """The chosen path: that of the innermost use_backend, else of $HYPERNETWORKS_BACKEND, else auto.

    Code that torch.compile has compiled keeps the path that was chosen when it was traced.
    """
    name = _chosen.get()
    if name is None:
        name = os.environ.get(VARIABLE) or "auto"
        check_choice(VARIABLE, name, BACKENDS)
    return name


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Make all networks of this thread take the path `name` within `with hn.use_backend(name):`.

    Args:
        name: "reference", "compiled", "native", "triton" or "auto".

    Example:
        >>> rnn = hn.HyperLSTM(10, 20)
        >>> with hn.use_backend("reference"):
        ...     output, state = rnn(torch.randn(5, 3, 10))

    Raises:
        ValueError: for another name.
    """
    check_choice("name", name, BACKENDS)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@functools.cache
def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step through torch.compile, as one graph: a graph break is an error.

    Networks share it, whatever their sizes and settings, so it is compiled again for each combination of these.
    """
    run = torch.compile(step, fullgraph=True)

    def compiled_step(*given: Any) -> Any:
        if torch.compiler.is_compiling():
            return step(*given)  # it is already being compiled as a part of a larger graph
        with torch_compat.graph_limit(1024, 4096):
            return run(*given)

    return compiled_step


def native_wanted() -> bool:
    """Whether the chosen path is native or auto."""
    return backend() in ("auto", "native")


_DTYPES = (torch.float32, torch.float64)


def native_serves(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the native path is built and supports these tensors in the present context.

    It supports dense tensors of float32 or float64 on the CPU whose memory holds their values.
    """
    return not transformed() and kernels_read(tensors)


def kernels_read(tensors: Iterable[Tensor | None]) -> bool:
    """Whether the native path is built and supports these tensors, in a context that it supports."""
    # a tracer cannot see where values are; the code that it compiles passes the operator tensors that store them
    tracing = torch.compiler.is_compiling()
    if tracing and torch.onnx.is_in_onnx_export():
        return False  # ONNX has no such operators, but those of the reference path
    for tensor in tensors:
        if tensor is None:
            continue
        dense = tensor.is_cpu and tensor.layout is torch.strided
        if not (dense and tensor.dtype in _DTYPES and torch_compat.is_ordinary(tensor)):
            return False
        if not (tracing or torch_compat.stores_its_values(tensor)):
            return False
    return _built()  # asked for last: other tensors do not cause a build


def undisturbed() -> bool:
    """Whether a kernel may be called without torch's dispatcher: nothing traces or transforms the call."""
    watched = torch.compiler.is_compiling() or torch_compat.is_jit_tracing() or transformed()
    return not watched and not torch_compat.in_dispatch_mode()


def transformed() -> bool:
    """Whether autocast, a torch.func transform or forward-mode AD is active: they have no rule for a kernel."""
    return torch.is_autocast_enabled("cpu") or torch_compat.in_function_transform() or torch_compat.in_forward_ad()


@torch_compat.constant_in_graphs
def _built() -> bool:
    return library() is not None
