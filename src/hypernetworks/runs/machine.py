"""What the numbers of a run depend on besides its settings: versions, processor, threads, and the backend of the networks."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from hypernetworks.processes import count
from hypernetworks.recurrent.backend import backend

__all__ = ["changed_environment", "environment", "processor"]


def environment() -> dict[str, dict[str, Any]]:
    """The current versions and machine. Runs with equal settings and environments give equal numbers, bit for bit."""
    return {
        "versions": {
            "hypernetworks": version("hypernetworks"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "vector width": torch.backends.cpu.get_cpu_capability(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
            "processes": count(),
            "threads": torch.get_num_threads(),
            "backend": backend(),
        },
    }


def changed_environment(recorded: Mapping[str, Any]) -> str:
    """What differs from the environment in a run's `config.json`, for example "threads 4 (the run has 2)"; empty if nothing."""
    found = []
    for group, here in environment().items():
        there = recorded.get(group)
        for name, value in here.items():
            if isinstance(there, Mapping) and there.get(name, value) != value:
                found.append(f"{name} {value} (the run has {there[name]})")
    return ", ".join(found)


def processor() -> str:
    """The name of the processor, if the system reports one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
