"""Time of several runs, in turn, in one process: what disturbs the machine disturbs all of them."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping

SAMPLE = 0.05
"""Seconds that a sample lasts at least, as many calls as that takes: a single short call says little."""

_SPIN = f"import os\nwhile os.getppid() == {{}}:\n    sum(range({10**5}))"


def time_in_turn(runs: Mapping[str, Callable[[], object]], repeats: int, steps: int = 1) -> dict[str, list[float]]:
    """Seconds of each run, `repeats` times; each round calls each of them. They have run before.

    steps: how many of what is told one call does.
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
    """Within, another process keeps one core busy; it ends with this one, however this one ends."""
    spinning = subprocess.Popen([sys.executable, "-S", "-c", _SPIN.format(os.getpid())])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()
