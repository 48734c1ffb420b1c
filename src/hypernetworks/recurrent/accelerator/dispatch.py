"""Decide whether a layer runs on the Triton kernels. Each reason not to is logged once.

A layer that they do not serve takes another path and gives the same numbers.
"""

import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..backend import backend, undisturbed

logger = logging.getLogger(__name__)

Inputs = Mapping[str, Tensor | None]

LEAST_CAPABILITY = (8, 0)
_failed: set[tuple] = set()
"""What failed to compile or to launch here: an operator with the sizes that its kernels are compiled for."""


def wanted(x: Tensor) -> bool:
    """Whether a layer with this input may ask for the kernels at all."""
    if not x.is_cuda:
        return backend() == "triton" and interpreted()
    return backend() in ("auto", "triton") and undisturbed()


def interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, on the CPU, where they are asked for."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def unavailable() -> str | None:
    """Why there are no kernels on this machine, None where there are."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if torch.version.hip is not None:
        return "the kernels have not been tried on ROCm"
    return None


def run(
    name: str,
    inputs: Inputs,
    mask: Tensor | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
    *settings: float,
) -> tuple[Tensor, ...] | None:
    """The answer of the operator `name` from the Triton kernels; None where they do not serve it."""
    eps = settings[0] if settings else 0.0
    inputs, mask = _autocast(inputs, mask)
    x = inputs["x"]
    assert x is not None
    reason = _refusal(name, inputs, mask)
    shape = None
    if reason is None:
        shape = _layer().layer_shape(inputs, mask, batch_sizes, reverse, eps, True)
        reason = _layer().refusal(shape)
    kind = None if shape is None else (name, shape.dtype, shape.hidden, shape.hyper, shape.embedding, shape.norm)
    if reason is None and kind in _failed:
        reason = "its Triton kernels failed before"
    if reason is not None or kind is None:
        _log(f"{name} on {x.device.type} takes the reference path: {reason}")
        return None
    try:
        answer = _layer().lstm_layer(inputs, mask, batch_sizes, reverse, eps)
    except _failures() as error:
        _failed.add(kind)
        logger.warning("the Triton kernels of %s failed, the reference path takes over: %s", name, error)
        return None
    _log(f"{name} on {x.device.type} takes the Triton kernels")
    return answer


def _refusal(name: str, inputs: Inputs, mask: Tensor | None) -> str | None:
    if not interpreted() and unavailable() is not None:
        return unavailable()
    if name != "lstm":
        return f"there are no Triton kernels of {name}"
    x = inputs["x"]
    assert x is not None
    if x.is_cuda and torch.cuda.get_device_capability(x.device) < LEAST_CAPABILITY:
        return f"compute capability below {LEAST_CAPABILITY[0]}.{LEAST_CAPABILITY[1]}"
    if x.shape[0] == 0:
        return "an empty batch"
    if inputs.get("P") is not None and (inputs.get("gain") is None) != (inputs.get("hyper_gain") is None):
        return "a layer norm in one of two cells"
    given = [tensor for tensor in (*inputs.values(), mask) if tensor is not None]
    if any(tensor.device != x.device or tensor.dtype != x.dtype for tensor in given):
        return "tensors of different devices or dtypes"
    return None


def _autocast(inputs: Inputs, mask: Tensor | None) -> tuple[Inputs, Tensor | None]:
    """Under autocast a layer runs in its dtype, as torch's own LSTM does."""
    if not torch.is_autocast_enabled("cuda"):
        return inputs, mask
    dtype = torch.get_autocast_dtype("cuda")
    with torch.autocast("cuda", enabled=False):
        cast = {name: None if tensor is None else tensor.to(dtype) for name, tensor in inputs.items()}
        return cast, None if mask is None else mask.to(dtype)


@functools.cache
def _layer():
    return importlib.import_module(".layer", __package__)


@functools.cache
def _failures() -> tuple[type[Exception], ...]:
    """What Triton raises where a kernel cannot be compiled or does not fit the device."""
    errors = importlib.import_module("triton.compiler.errors")
    runtime = importlib.import_module("triton.runtime.errors")
    return errors.CompilationError, runtime.OutOfResources, runtime.PTXASError


@functools.cache
def _log(line: str) -> None:
    logger.info(line)
