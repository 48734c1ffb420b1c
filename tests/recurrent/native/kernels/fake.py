"""Processes that use a network with a cache of their own, and compilers that do what a test needs."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hypernetworks.recurrent.native.kernels import ensure, library

USE = """
import torch, hypernetworks as hn
torch.manual_seed(0)
network, x = hn.HyperLSTM(3, 5, hyper_size=4, hyper_embedding_size=2), torch.randn(4, 2, 3)
output, _ = network(x)
with hn.use_backend("reference"):
    assert (network(x)[0] - output).abs().max() < 1e-5
print(hn.recurrent.native.kernels.library() is not None)
"""

LIBRARY = ensure().path  # found or compiled before a test moves the cache

_COMPILER = """#!/bin/sh
[ "$1" = --version ] && {{ echo "fake 1.0"; exit; }}
echo "$@" >> {log}
{before}
while [ $# -gt 1 ]; do [ "$1" = -o ] && cp {library} "$2"; shift; done
"""


def fake_compiler(folder: Path, before: str = "") -> Path:
    """A compiler in no time: its outputs are copies of the library that is built already. It runs the line `before` first."""
    path = folder / "fake-c++"
    path.write_text(_COMPILER.format(log=calls(folder), library=LIBRARY, before=before))
    path.chmod(0o700)
    return path


def calls(folder: Path) -> Path:
    """The file with a line for each call of the fake compiler in this folder."""
    return folder / "calls"


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    """The variables of a process with its own cache."""
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HYPERNETWORKS_BACKEND": "auto", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, **variables}


def start(given: dict[str, str], program: str = USE) -> subprocess.Popen[str]:
    """Start a process that uses a network."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class First:
    """The first use of the kernels in a process, with a cache of its own, again and again in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: Path) -> None:
        self.monkeypatch, self.caplog = monkeypatch, caplog
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    def succeeds(self, **variables: str) -> list[str]:
        """The kernels are loaded; the lines of the log."""
        loaded, log = self(**variables)
        assert loaded, log
        return log

    def falls_back(self, why: str, **variables: str) -> None:
        """There are no kernels, and one line says why."""
        loaded, log = self(**variables)
        assert not loaded
        lines = [line for line in log if not re.match("compiling the native kernels|native kernels compiled", line)]
        assert len(lines) == 1, log
        assert lines[0].startswith("no native kernels, the reference path serves: ")
        assert why in lines[0]

    def __call__(self, **variables: str) -> tuple[bool, list[str]]:
        """Whether the kernels are loaded, and the lines of the log."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        self.caplog.clear()
        with self.caplog.at_level(logging.INFO, "hypernetworks"):
            loaded = library.__wrapped__() is not None
        return loaded, self.caplog.messages
