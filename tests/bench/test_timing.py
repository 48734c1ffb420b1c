"""Timing in turn, and a core kept busy exactly as long as needed."""

import subprocess
import time

import pytest

from hypernetworks.bench import timing
from hypernetworks.bench.timing import occupied_core, time_in_turn


def test_each_round_calls_each_of_them_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SAMPLE", 0.0)
    called: list[str] = []
    runs = {name: lambda name=name: called.append(name) for name in "ab"}
    times = time_in_turn(runs, 3)
    assert "".join(called) == "ab" + 3 * "ab"  # once each to see how long it takes
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_a_time_is_that_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SAMPLE", 0.05)
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.005)

    (seconds,) = time_in_turn({"sleep": run}, 1)["sleep"]
    assert calls > 2
    assert 0.005 <= seconds < 0.04


def test_the_occupied_core_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def remember(*given, **others) -> subprocess.Popen:
        started.append(popen(*given, **others))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    with pytest.raises(KeyboardInterrupt), occupied_core():  # noqa: PT012
        time.sleep(0.3)
        assert started[0].poll() is None  # it found its parent, and is still running
        raise KeyboardInterrupt
    assert started[0].poll() is not None
