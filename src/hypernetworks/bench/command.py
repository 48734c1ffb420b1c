"""`hypernetworks bench`: measure what was asked for, print it as it comes, write it down."""

import contextlib
import json
import os
import platform
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from hypernetworks.bench import jax_scan, labml, sizes
from hypernetworks.bench.benchmark import NetworkBenchmark
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.memory import is_measurable
from hypernetworks.bench.plot import draw
from hypernetworks.bench.sizes import QUANTITIES, Quantity, Size
from hypernetworks.bench.table import heading, rows
from hypernetworks.errors import FaultError, UsageError, check_count
from hypernetworks.files import write_whole
from hypernetworks.recurrent.native.build import library
from hypernetworks.runs.machine import processor
from hypernetworks.text.model import Network

BUSY = 0.5
"""The load average from which on the machine is not this command's alone."""


@dataclass(frozen=True)
class Bench:
    """Speed and memory of every network and path, beside torch.nn.LSTM, and labml_nn and JAX where they are installed.

    All implementations run in turn in one process, in float32 on the CPU. The outputs, final state and gradients of each are
    first compared with those of the reference path. An implementation that differs is not measured, and the exit code is 1.
    With the defaults it takes about half an hour; `--networks hyper-lstm --sizes small` takes one minute.
    """

    sizes: tuple[Literal["small", "labml", "ptb"], ...] = ("small", "labml", "ptb")
    """T, B, I, H, K, Z: small 128, 32, 256, 256, 64, 16; labml 512, 2, 512, 512, 16, 16; ptb 100, 128, 128, 1000, 128, 16."""
    networks: tuple[Network, ...] = (
        "lstm",
        "layer-norm-lstm",
        "rhn",
        "hyper-lstm",
        "hyper-gru",
        "hyper-rnn",
        "hyper-rhn",
    )
    """Which networks."""
    quantities: tuple[Quantity, ...] = QUANTITIES
    """forward: without gradients; training: forward and backward; generation: one step of B = 1, I = H = 512, K = Z = 16;
    memory: what a training step takes at its peak, in a process of its own."""
    repeats: int = 5
    """Rounds; minimum and median are told."""
    threads: int | None = None
    """Threads for each implementation; torch's own number where left out."""
    curves: bool = False
    """Also training steps along T (up to 8192; and their memory), along B and along H."""
    busy: bool = False
    """Time our paths and nn.LSTM again while another process keeps one core busy."""
    compiled: bool = False
    """Also the compiled path; compiling takes a while for each network and size."""
    json: Path | None = None
    """Write every number there, with versions, processor and command."""
    plot: Path | None = None
    """Draw the ratios, and the curves if asked for, into this SVG file (needs matplotlib)."""

    def __call__(self) -> None:
        """Measure and print; FaultError at the end where a check failed."""
        self._check()
        with _threads(self.threads):
            about = self._about()
            print(_introduction(about))
            measurements: list[Measurement] = []
            for group in self._groups():
                measurements += group.measurements
                self._write(about, measurements)  # what was measured is not lost where a later one fails
        if self.json is not None:
            print(f"\nnumbers: {self.json}")
        if self.plot is not None:
            write_whole(self.plot, draw(measurements, _introduction(about).splitlines()[0]).encode())
            print(f"plot: {self.plot}")
        if refused := [measurement for measurement in measurements if measurement.refusal is not None]:
            raise FaultError(f"{len(refused)} of {len(measurements)} were not measured; the reasons are given above")

    def _check(self) -> None:
        """Refuse before anything is measured what could only fail at the end."""
        for name in ("sizes", "networks", "quantities"):
            given = getattr(self, name)
            if not given or len(set(given)) != len(given):
                raise UsageError(f"{name} should be one or more, all different, got {' '.join(given) or 'none'}")
        check_count("repeats", self.repeats)
        if self.threads is not None:
            check_count("threads", self.threads)
        for flag, path in (("--json", self.json), ("--plot", self.plot)):
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise UsageError(f"{flag} should be a file in a folder that is there, got {path}")
        if self.plot is not None and self.plot.suffix != ".svg":
            raise UsageError(f"--plot should end in .svg, got {self.plot}")
        if self.plot is not None and find_spec("matplotlib") is None:
            raise UsageError("--plot needs matplotlib: pip install 'hypernetworks[plot]'")

    def _write(self, about: dict[str, Any], measurements: Sequence[Measurement]) -> None:
        """The numbers so far, if they were asked for."""
        if self.json is not None:
            numbers = about | {"measurements": [measurement.as_json() for measurement in measurements]}
            write_whole(self.json, (json.dumps(numbers, indent=1) + "\n").encode())

    def _groups(self) -> Iterator[Group]:
        """Every group of measurements, printed as soon as it is there."""
        for size, quantities in self._plan():
            benchmarks = [
                NetworkBenchmark(network, size, repeats=self.repeats, busy=self.busy, with_compiled=self.compiled)
                for network in self.networks
            ]
            for quantity in quantities:
                print(heading(quantity, size, self.busy), flush=True)
                for benchmark in benchmarks:
                    group = benchmark.measure(quantity)
                    for row in rows(group):
                        print(row, flush=True)
                    yield group

    def _plan(self) -> Iterator[tuple[Size, Sequence[Quantity]]]:
        """What is measured at which size, in this order."""
        measurable = is_measurable()
        if not measurable:
            print("no memory: this system does not tell a process its peak (Linux does)")

        def asked(*those: Quantity) -> list[Quantity]:
            return [one for one in those if one in self.quantities and (measurable or one != "memory")]

        for name in self.sizes:
            yield sizes.SIZES[name], asked("forward", "training", "memory")
        yield sizes.ONE_STEP, asked("generation")
        for axis, points in sizes.CURVES.items() if self.curves else ():
            along: list[Quantity] = ["training", "memory"] if axis == "T" and measurable else ["training"]
            for size in points:
                yield size, along

    def _about(self) -> dict[str, Any]:
        """What the measurements depend on."""
        return {
            "command": self._command(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "processor": processor(),
            "threads": torch.get_num_threads(),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "repeats": self.repeats,
            "dtype": "float32",
            "versions": {
                "hypernetworks": version("hypernetworks"),
                "torch": str(torch.__version__),
                "python": platform.python_version(),
                "labml_nn": _version("labml-nn") if labml.is_installed() else None,
                "jax": _version("jax") if jax_scan.is_installed() else None,
            },
        }

    def _command(self) -> str:
        """The command line that asks for the same."""
        words = ["hypernetworks", "bench"]
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            values = [] if value is True else list(value) if isinstance(value, tuple) else [value]
            words += [f"--{field.name}", *map(str, values)]
        return shlex.join(words)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # importable all the same
        return "unknown"


def _introduction(about: dict[str, Any]) -> str:
    """What stands above the tables."""
    versions = about["versions"]
    present = [f"{name} {number}" for name, number in versions.items() if number is not None]
    lines = [f"{about['processor']}, {about['threads']} threads, {about['dtype']}; {', '.join(present)}"]
    lines += [f"min and median of {about['repeats']} rounds in turn; ratios are of minima"]
    if (about["load"] or 0) > BUSY:
        lines += [f"other programs are running (load average {about['load']}): these measurements will be off"]
    how = {"labml_nn": "pip install --no-deps labml-nn==0.5.1", "jax": "pip install jax"}
    lines += [f"without {name}, which is not installed: {how[name]}" for name in how if versions[name] is None]
    if library() is None:
        lines += ["without the native path: `hypernetworks doctor` tells why"]
    return "\n".join(lines)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Within, torch has so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
