"""How many compilers may run at once: no more than the processor and the memory that this process may use allow.

In a container both are limited by control groups, which `os.cpu_count` and the free memory of the machine do not show.

Source: Linux kernel documentation, "Control Group v2" and "Memory Resource Controller" (version 1).
"""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MEMORY_OF_A_COMPILER = 400 * 2**20
"""Bytes. The largest of g++ 12 took 363 MiB."""

_GROUPS = Path("/sys/fs/cgroup")
_MEMORY = (("memory.max", "memory.current", "inactive_file"),)
_MEMORY_1 = (("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),)


def compilers_at_once() -> int:
    """The number of compilers, at least 1."""
    memory = free_memory()
    return max(1, min(cores(), cores() if memory is None else memory // MEMORY_OF_A_COMPILER))


def cores() -> int:
    """The processors that this process may use, rounded up where a control group gives a part of one."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders("cpu"):
        quota = _quota(folder)
        if quota is not None:
            usable = min(usable, math.ceil(quota))
    return max(1, usable)


def free_memory() -> int | None:
    """The bytes that this process may still take, or None where the system does not say."""
    found = [free for free in (_free_of_machine(), *map(_free_of_group, _folders("memory"))) if free is not None]
    return min(found, default=None)


def _free_of_machine() -> int | None:
    for line in _text(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _free_of_group(folder: Path) -> int | None:
    """limit − use, where memory that only holds copies of files does not count as used."""
    for limit, used, files in _MEMORY + _MEMORY_1:
        most, now = _text(folder / limit).strip(), _text(folder / used).strip()
        if most.isdecimal() and now.isdecimal():
            rows = (line.split() for line in _text(folder / "memory.stat").splitlines())
            cached = next((int(row[1]) for row in rows if row[0] == files), 0)
            return max(0, int(most) - int(now) + cached)
    return None


def _quota(folder: Path) -> float | None:
    """Processors per second of time: quota / period."""
    match _text(folder / "cpu.max").split():
        case [quota, period] if quota.isdecimal():
            return int(quota) / int(period)
    quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of all groups around it. Each may set a limit."""
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        number, names, path = line.split(":", 2)
        if number == "0":
            root = _GROUPS  # version 2
        elif controller in names.split(","):
            root = _GROUPS / controller
        else:
            continue
        own = root / path.lstrip("/")
        # Inside a container the path may be one that only the machine around it has. Then only the root exists.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
