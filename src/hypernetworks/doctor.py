"""`hypernetworks doctor`: what this installation is made of, what it can use, and what is missing and how to mend it."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from hypernetworks.data.named_sets import list_data
from hypernetworks.data_sets import NAMED_SETS
from hypernetworks.recurrent.backend import backend
from hypernetworks.recurrent.native.build import BuildError, ensure, find_compiler
from hypernetworks.runs.machine import processor


@dataclass(frozen=True)
class Doctor:
    """Versions, processor and threads, optional parts, and which data sets were found."""

    data_dir: Path | None = None
    """Where data sets are looked for first."""

    def __call__(self) -> None:
        """Print a line for each."""
        lines = [
            ("hypernetworks", version("hypernetworks")),
            ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
            ("torch", str(torch.__version__)),
            ("processor", f"{processor()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"),
            ("vector width", torch.backends.cpu.get_cpu_capability()),
            ("accelerator", _accelerator()),
            ("backend", f"{backend()}: {_path()}"),
            ("native kernels", _kernels()),
            *((name, _installed(name)) for name in ("numpy", "safetensors", "tyro", "rich")),
            ("matplotlib", _installed("matplotlib", "draws curves: pip install 'hypernetworks[plot]'")),
            ("labml-nn", _installed("labml-nn", "beside ours in bench: pip install --no-deps labml-nn==0.5.1")),
            ("jax", _installed("jax", "beside ours in bench: pip install jax")),
            *((f"data: {row.name}", row.where) for row in list_data(NAMED_SETS, self.data_dir)),
        ]
        for name, what in lines:
            print(f"{name:<26}{what}")


def _path() -> str:
    chosen = {
        "auto": "native kernels for float32 and float64 on the CPU where they are built, else plain torch",
        "native": "native kernels where they serve, else plain torch",
        "reference": "plain torch, any device and dtype",
        "compiled": "plain torch through torch.compile",
    }
    return chosen[backend()]


def _kernels() -> str:
    """Built if need be: where they are, or why there are none."""
    try:
        return f"built by {find_compiler()[0]}: {ensure()}"
    except BuildError as error:
        return f"none, the reference path serves: {error}"


def _installed(name: str, otherwise: str = "a required part: install hypernetworks again") -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed ({otherwise})"


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none found"
