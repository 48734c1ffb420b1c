"""Decide how a layer runs on a CUDA device. Every path gives the reference's numbers.

    1. the Triton kernels, where they serve the layer
    2. the steps of the reference path in one CUDA graph, which "auto" alone takes
    3. the reference path

One line is logged for each kind of layer: which path it takes, and why not an earlier one.
"""

import functools
import importlib
import importlib.util
import logging
import os
import re
import subprocess
from importlib.metadata import version

import torch
from torch import Tensor, nn

from ... import torch_compat
from ..backend import backend, transformed
from ..native.gru import gru
from ..native.layer import LayerCall, LayerKernels, Tensors
from ..native.lstm import lstm

logger: logging.Logger = logging.getLogger(__name__)

SERVED = (lstm, gru)
LEAST_CAPABILITY = (8, 0)
LEAST_TRITON = (3, 6)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_HIDDEN, MAX_HYPER, MAX_EMBEDDING = 2048, 256, 64


class OnDevice:
    """The kernels, imported when they are first called: triton is optional, and its import takes time."""

    title = "Triton"
    dtypes = DTYPES

    def __init__(self, device: str = "cuda") -> None:
        self.device = device

    def forward(self, call: LayerCall, results: dict[str, Tensor], save: bool) -> None:
        """Compute the answer and what is saved into `results`."""
        _kernels(self.device).forward(call, results, save)

    def backward(
        self, call: LayerCall, came: Tensors, results: dict[str, Tensor], grads: dict[str, Tensor], *needs: bool
    ) -> None:
        """Compute the gradients of the inputs into `grads`."""
        _kernels(self.device).backward(call, came, results, grads, *needs)


for _operator in SERVED:
    _operator.implement("CUDA", OnDevice())


def wanted(x: Tensor) -> bool:
    """Whether a layer with this input may take the kernels or a graph at all."""
    if not x.is_cuda:
        return backend() == "triton" and interpreted()
    return backend() in ("auto", "triton") and not (transformed() or torch.onnx.is_in_onnx_export())


def interpret() -> None:
    """Let Triton's interpreter compute layers on the CPU where the path is "triton": for tests, with TRITON_INTERPRET=1.

    The C++ kernels of these operators are out of reach in this process afterwards.
    """
    assert os.environ.get("TRITON_INTERPRET") == "1"
    for operator in SERVED:
        operator.implement("CPU", OnDevice("cpu"), override=True)
    _interpreted.append(True)


def interpreted() -> bool:
    """Whether `interpret` was called."""
    return bool(_interpreted)


_interpreted: list[bool] = []


@torch_compat.constant_in_graphs
def unavailable() -> str | None:
    """Why there are no Triton kernels on this machine, None where there are."""
    return _unavailable()


@functools.cache
def _unavailable() -> str | None:
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if torch.version.hip is not None:
        return "the kernels have not been tried on ROCm"
    found = version("triton")
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < LEAST_TRITON:
        return f"triton {found} is older than {LEAST_TRITON[0]}.{LEAST_TRITON[1]}"
    return None


def refusal(name: str, inputs: Tensors, mask: Tensor | None) -> str | None:
    """Why the Triton kernels do not serve a layer; None where they do."""
    reason = None if interpreted() else unavailable()
    if reason is not None:
        return reason
    x, h0 = inputs["x"], inputs["h0"]
    assert x is not None
    assert h0 is not None
    weight_h, P, norm = inputs["weight_h"], inputs.get("P"), inputs.get("gain") is not None
    reason = _unserved(name, inputs, mask)
    if reason is not None:
        return reason
    assert weight_h is not None
    # sizes from parameters: those of inputs are open where torch.compile makes code for any size
    H, K, Z = weight_h.shape[1], *((0, 0) if P is None else (P.shape[2], P.shape[1]))
    if x.dtype not in DTYPES:
        return f"dtype {x.dtype}"
    if H > MAX_HIDDEN or K > MAX_HYPER or Z > MAX_EMBEDDING:
        return f"hidden size {H}, hyper size {K}, embedding size {Z}"
    # code that is being compiled serves any batch: trying the kernels at one is enough
    batch = 32 if torch.compiler.is_compiling() else h0.shape[0]
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs.values())
    return _trial(name, x.device, x.dtype, batch_class(batch), (H, K, Z), norm, mask is not None, save)


def _unserved(name: str, inputs: Tensors, mask: Tensor | None) -> str | None:
    x = inputs["x"]
    assert x is not None
    if name not in [operator.name for operator in SERVED]:
        return f"there are no Triton kernels of {name}"
    if name == "gru" and inputs.get("P") is not None:
        return "there are no Triton kernels of a GRU with a hyper cell"
    if x.shape[0] == 0:
        return "an empty batch"
    if inputs.get("P") is not None and (inputs.get("gain") is None) != (inputs.get("hyper_gain") is None):
        return "a layer norm in one of two cells"
    for tensor in (*inputs.values(), mask):
        if tensor is not None and (tensor.device != x.device or tensor.dtype != x.dtype):
            return "tensors of different devices or dtypes"
    return None


def batch_class(batch: int) -> int:
    """A batch that stands for all that have the same kernels: their tiles depend on it."""
    return 32 if batch <= 32 else 64 if batch <= 64 else 128


@torch_compat.constant_in_graphs
def _trial(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    sizes: tuple[int, int, int],
    norm: bool,
    masked: bool,
    save: bool,
) -> str | None:
    """Why the kernels do not run on this device, found by running them once; None where they run."""
    if interpreted() or torch_compat.in_dispatch_mode():
        return None  # nothing is compiled, or nothing can run now
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return None  # a trial waits for the device, which a capture forbids
    return _tried(name, device, dtype, batch, sizes, norm, masked, save)


@functools.cache
def _tried(name: str, device: torch.device, *kind) -> str | None:
    reason = too_old(device)
    if reason is not None:
        return reason
    try:
        importlib.import_module(".trial", __package__).run(name, device, *kind)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, OSError, subprocess.SubprocessError, ImportError) as error:
        logger.warning("the Triton kernels of %s failed on %s, another path takes over: %s", name, device, error)
        return "its Triton kernels failed"
    return None


def too_old(device: torch.device) -> str | None:
    """Why a device cannot run the kernels; None where it can."""
    capability = torch.cuda.get_device_capability(device)
    if capability >= LEAST_CAPABILITY:
        return None
    return "compute capability {}.{}, below {}.{}".format(*capability, *LEAST_CAPABILITY)


def autocast(inputs: Tensors, mask: Tensor | None) -> tuple[Tensors, Tensor | None]:
    """Under autocast a layer runs in its dtype, as torch's own LSTM does."""
    if not torch.is_autocast_enabled("cuda"):
        return inputs, mask
    dtype = torch.get_autocast_dtype("cuda")
    cast = {name: None if tensor is None else tensor.to(dtype) for name, tensor in inputs.items()}
    return cast, None if mask is None else mask.to(dtype)


@functools.cache
def _kernels(device: str) -> LayerKernels:
    return importlib.import_module(".operators", __package__).TritonLayers(device)


def log(cell: nn.Module, x: Tensor, path: str, why: str = "") -> None:
    """Log once which path a kind of layer takes, and why not an earlier one."""
    if not torch.compiler.is_compiling():
        _log(f"{type(cell).__name__} on {x.device.type} takes {path}{why and f' ({why})'}")


@functools.cache
def _log(line: str) -> None:
    logger.info(line)
