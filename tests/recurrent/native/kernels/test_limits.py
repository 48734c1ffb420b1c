"""Limits of control groups, in folders that look like those of the system."""

import pytest

from hypernetworks.recurrent.native.kernels import limits

GIB = 2**30


@pytest.fixture
def system(monkeypatch, tmp_path):
    """A system without limits: 8 processors, 100 GiB."""
    files = {"/proc/meminfo": f"MemFree: 1 kB\nMemAvailable: {100 * 2**20} kB\n", "/proc/self/cgroup": ""}
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    real = limits._text
    monkeypatch.setattr(limits, "_text", lambda path: files.get(str(path), real(path)))

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return files, write


def test_without_limits_all_processors_are_used(system):
    assert (limits.cores(), limits.free_memory(), limits.compilers_at_once()) == (8, 100 * GIB, 8)


def test_where_nothing_is_known_one_for_each_processor(system):
    files, _ = system
    files["/proc/meminfo"] = ""
    assert limits.free_memory() is None
    assert limits.compilers_at_once() == 8


@pytest.mark.parametrize("group", ["/", "/box", "/box/inner"])
def test_version_2(system, group):
    files, write = system
    files["/proc/self/cgroup"] = f"0::{group}\n"
    write("memory.max" if group == "/" else "box/memory.max", f"{GIB}\n")
    write("memory.current" if group == "/" else "box/memory.current", f"{GIB // 2}\n")
    write("memory.stat" if group == "/" else "box/memory.stat", f"anon 5\ninactive_file {GIB // 4}\n")
    write("cpu.max", "250000 100000\n")
    assert limits.free_memory() == GIB // 2 + GIB // 4
    assert limits.cores() == 3
    assert limits.compilers_at_once() == 1


def test_version_2_without_limits(system):
    files, write = system
    files["/proc/self/cgroup"] = "0::/\n"
    write("memory.max", "max\n")
    write("memory.current", "5\n")
    write("cpu.max", "max 100000\n")
    assert limits.compilers_at_once() == 8


def test_version_1(system):
    files, write = system
    files["/proc/self/cgroup"] = "4:memory:/box\n2:cpu,cpuacct:/box\n1:name=systemd:/\n"
    write("memory/box/memory.limit_in_bytes", f"{2 * GIB}\n")
    write("memory/box/memory.usage_in_bytes", f"{GIB}\n")
    write("memory/box/memory.stat", "total_inactive_file 0\n")
    write("cpu/box/cpu.cfs_quota_us", "-1\n")
    write("cpu/box/cpu.cfs_period_us", "100000\n")
    assert limits.free_memory() == GIB
    assert limits.compilers_at_once() == 2
    write("cpu/box/cpu.cfs_quota_us", "50000\n")
    assert limits.compilers_at_once() == 1


def test_the_tightest_group_counts(system):
    files, write = system
    files["/proc/self/cgroup"] = "0::/a/b\n"
    for place, most in (("a", 3 * GIB), ("a/b", 5 * GIB)):
        write(f"{place}/memory.max", str(most))
        write(f"{place}/memory.current", "0")
    assert limits.free_memory() == 3 * GIB


def test_this_machine():
    assert limits.cores() >= 1
    assert limits.compilers_at_once() >= 1
