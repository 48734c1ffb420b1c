"""Time several functions in turn in one process, so that a disturbance of the machine affects all of them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

SAMPLE = 0.05
"""Minimum seconds of a sample. Short calls are repeated until a sample lasts that long."""

_SPIN = f"import os\nwhile os.getppid() == {{}}:\n    sum(range({10**5}))"


def time_in_turn(runs: Mapping[str, Callable[[], object]], repeats: int, steps: int = 1) -> dict[str, list[float]]:
    """Time each function `repeats` times. Every round calls all of them.

    Args:
        runs: the functions by name. Each must have run once before.
        repeats: the number of rounds.
        steps: how many steps one call does; the returned times are per step.

    Returns:
        The seconds of each round, by name.
    """
    calls = {name: max(1, int(SAMPLE / max(_seconds(run, 1), 1e-9))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(_seconds(run, calls[name]) / steps)
    return times


def _seconds(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


@contextlib.contextmanager
def occupied_core() -> Iterator[None]:
    """Keep one core busy with another process, which ends when the context or this process ends."""
    spinning = subprocess.Popen([sys.executable, "-S", "-c", _SPIN.format(os.getpid())])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()
