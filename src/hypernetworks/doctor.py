"""`hypernetworks doctor`: what is installed, what can be used, and how to get what is missing."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from hypernetworks.data.named_sets import list_data
from hypernetworks.data_sets import NAMED_SETS
from hypernetworks.recurrent.accelerator import dispatch, steps
from hypernetworks.recurrent.backend import backend
from hypernetworks.recurrent.native.kernels import BuildError, ensure
from hypernetworks.runs.machine import processor

_PREBUILT = "kernels that need no compiler, for Linux x86-64: pip install 'hypernetworks[kernels]'"


@dataclass(frozen=True)
class Doctor:
    """Show versions, processor, threads, optional packages, and the data sets that were found."""

    data_dir: Path | None = None
    """Where to look for data sets first."""

    def __call__(self) -> None:
        """Print one line per item."""
        lines = [
            ("hypernetworks", version("hypernetworks")),
            ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            ("torch", str(torch.__version__)),
            ("processor", f"{processor()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"),
            ("vector width", torch.backends.cpu.get_cpu_capability()),
            ("accelerator", _accelerator()),
            ("backend", f"{backend()}: {_path()}"),
            ("native kernels", _kernels()),
            ("hypernetworks-kernels", _installed("hypernetworks-kernels", _PREBUILT)),
            ("Triton kernels", _triton()),
            ("CUDA graphs", _graphs()),
            *((name, _installed(name)) for name in ("numpy", "safetensors", "tyro", "rich")),
            ("matplotlib", _installed("matplotlib", "draws curves: pip install 'hypernetworks[plot]'")),
            ("labml-nn", _installed("labml-nn", "for comparison in bench: pip install --no-deps labml-nn==0.5.1")),
            ("jax", _installed("jax", "hypernetworks.jax and bench use it: pip install 'hypernetworks[jax]'")),
            *((f"data: {row.name}", row.where) for row in list_data(NAMED_SETS, self.data_dir)),
        ]
        for name, what in lines:
            print(f"{name:<26}{what}")


def _path() -> str:
    chosen = {
        "auto": "native kernels on the CPU; Triton kernels, else CUDA graphs, on CUDA devices; else plain torch",
        "native": "native kernels where supported, else plain torch",
        "reference": "plain torch, any device and dtype",
        "compiled": "plain torch through torch.compile",
        "triton": "Triton kernels on CUDA devices where supported, else plain torch",
    }
    return chosen[backend()]


def _kernels() -> str:
    """Compile the kernels if needed: their path, compiler and threads, or why there are none."""
    try:
        stored = ensure()
    except BuildError as error:
        return f"none, using plain torch: {error}"
    threads = "threads by OpenMP" if stored.made.openmp else "on one thread only, the compiler had no OpenMP"
    return f"{stored.path}, compiled by {stored.compiler}, {threads}"


def _triton() -> str:
    """What compiles the kernels for the accelerator, or why there are none."""
    reason = dispatch.unavailable() or dispatch.too_old(torch.device("cuda"))
    if reason is not None:
        return f"none: {reason}"
    return f"of LSTM, GRU and HyperLSTM, compiled on first use by triton {version('triton')}"


def _graphs() -> str:
    """What runs layers on the accelerator that have no Triton kernels."""
    if not torch.cuda.is_available():
        return "none: there is no CUDA device"
    return f"{steps.description()}, for layers without Triton kernels"


def _installed(name: str, otherwise: str = "required: reinstall hypernetworks") -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed ({otherwise})"


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none found"
