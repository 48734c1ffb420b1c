"""`hypernetworks doctor`: what this installation is made of, what it can use, and what is missing and how to mend it."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from hypernetworks.text.data_sets import list_data


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
            ("processor", f"{_processor()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"),
            ("vector width", torch.backends.cpu.get_cpu_capability()),
            ("accelerator", _accelerator()),
            ("recurrent path", "reference (plain torch): any device and dtype"),
            *((name, _installed(name)) for name in ("numpy", "safetensors", "tyro", "rich")),
            ("matplotlib", _installed("matplotlib", "draws curves: pip install 'hypernetworks[plot]'")),
            ("labml-nn", _installed("labml-nn", "beside ours in benchmarks: pip install --no-deps labml-nn")),
            *((f"data: {row.name}", row.where) for row in list_data(self.data_dir)),
        ]
        for name, what in lines:
            print(f"{name:<26}{what}")


def _installed(name: str, otherwise: str = "a required part: install hypernetworks again") -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed ({otherwise})"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none found"
