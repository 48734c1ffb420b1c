"""Peak memory of a training step: by how much the resident set grows beyond the network and its input.

Each implementation is measured in its own process:

    python -m hypernetworks.bench.memory NETWORK IMPLEMENTATION THREADS T B I H K Z

Linux keeps the high-water mark of the resident set. It is reset before the step, because making a network takes more memory
than the network itself. (getrusage's ru_maxrss cannot be reset, and a child process starts with its parent's value.)
"""

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hypernetworks.bench.case import make_case
from hypernetworks.bench.implementations import MAKERS
from hypernetworks.bench.sizes import Size
from hypernetworks.experiments.networks import NetworkName

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WARM = Size("warm", T=2, B=1, I=8, H=8, K=4, Z=2)
"""A step this small only loads the libraries and starts their threads."""


def is_measurable() -> bool:
    """Whether this system reports the high-water mark of a process and lets it be reset."""
    return CLEAR.exists() and "VmHWM:" in STATUS.read_text()


def peak_memory(network: NetworkName, implementation: str, size: Size) -> int:
    """Measure the bytes that a training step takes, in a child process.

    Raises:
        RuntimeError: the child process failed.
    """
    numbers = [str(n) for n in size[1:7]]
    command = [sys.executable, "-m", __name__, network, implementation, str(torch.get_num_threads()), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        messages = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"the measuring process ended with {done.returncode}: {messages[-1]}")
    return int(done.stdout)


def main(arguments: Sequence[str]) -> None:
    """Measure in this process, and print the bytes."""
    network, name = arguments[:2]
    threads, T, B, I, H, K, Z = map(int, arguments[2:])
    torch.set_num_threads(threads)
    MAKERS[name](make_case(network, WARM)).run("memory")
    implementation = MAKERS[name](make_case(network, Size("measured", T, B, I, H, K, Z)))
    implementation.prepare("memory")
    print(growth(lambda: implementation.run("memory")))


def growth(run: Callable[[], object]) -> int:
    """The largest growth of this process's resident set while `run` runs, in bytes."""
    _release_free_memory()
    CLEAR.write_text("5")  # sets the high-water mark to the current resident set
    before = _bytes("VmRSS")
    run()
    return max(0, _bytes("VmHWM") - before)


def _release_free_memory() -> None:
    """Return free memory to the system; the step could otherwise reuse it without growing the resident set."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc only
        trim(ctypes.c_size_t(0))


def _bytes(field: str) -> int:
    """A field of /proc/self/status, converted from kB."""
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main(sys.argv[1:])
