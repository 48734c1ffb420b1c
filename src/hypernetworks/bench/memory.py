"""Peak memory of a training step: how far the resident set grows beyond what the network and its input already take.

Each implementation is measured in its own process:

    python -m hypernetworks.bench.memory NETWORK IMPLEMENTATION THREADS T B I H K Z

Linux keeps the high-water mark of the resident set. It is set back before the step, because making a network takes more than
the network. (getrusage's ru_maxrss cannot be set back, and a process that a large one starts begins with that one's.)
"""

import ctypes
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch

from hypernetworks.bench.implementation import make_case
from hypernetworks.bench.implementations import MAKERS
from hypernetworks.bench.sizes import Size
from hypernetworks.text.model import Network

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WARM = Size("warm", T=2, B=1, I=8, H=8, K=4, Z=2)
"""So small that a step of it leaves nothing but the libraries, their threads and their tables."""


def is_measurable() -> bool:
    """Whether this system tells a process its high-water mark, and lets it be set back."""
    return CLEAR.exists() and "VmHWM:" in STATUS.read_text()


def peak_memory(network: Network, implementation: str, size: Size) -> int:
    """Bytes that a training step takes; RuntimeError where the process that measures fails."""
    numbers = [str(n) for n in size[1:7]]
    command = [sys.executable, "-m", __name__, network, implementation, str(torch.get_num_threads()), *numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"the process that measures ended with {done.returncode}: {said[-1]}")
    return int(done.stdout)


def main(arguments: Sequence[str]) -> None:
    """Measure, in this process, and print the bytes."""
    network, name = cast(Network, arguments[0]), arguments[1]
    threads, T, B, I, H, K, Z = map(int, arguments[2:])
    torch.set_num_threads(threads)
    MAKERS[name](make_case(network, WARM)).run("memory")
    implementation = MAKERS[name](make_case(network, Size("measured", T, B, I, H, K, Z)))
    implementation.prepare("memory")
    print(growth(lambda: implementation.run("memory")))


def growth(run: Callable[[], object]) -> int:
    """Bytes by which the resident set of this process grows at most while `run` runs."""
    _give_back_free_memory()
    CLEAR.write_text("5")  # the high-water mark is what is resident now
    before = _bytes("VmRSS")
    run()
    return max(0, _bytes("VmHWM") - before)


def _give_back_free_memory() -> None:
    """What making the network left behind is not there for the step to take, unseen."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of glibc
        trim(ctypes.c_size_t(0))


def _bytes(field: str) -> int:
    """A field of /proc/self/status, which is in kB."""
    lines = STATUS.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main(sys.argv[1:])
