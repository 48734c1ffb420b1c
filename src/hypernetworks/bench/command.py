"""`hypernetworks bench`: measure, print each group of measurements as it is ready, and write them to a file."""

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

from hypernetworks.bench import against, jax_scan, labml, sizes
from hypernetworks.bench.benchmark import NetworkBenchmark
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.memory import is_measurable
from hypernetworks.bench.plot import draw
from hypernetworks.bench.sizes import QUANTITIES, Quantity, Size
from hypernetworks.bench.table import heading, rows
from hypernetworks.errors import FaultError, UsageError, check_count
from hypernetworks.experiments.networks import NetworkName
from hypernetworks.files import write_whole
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.recurrent.native.kernels import library
from hypernetworks.runs.machine import processor

VARIANTS = ("-full", "-without-norm")
"""Endings of the names of networks that are measured on request only."""

BUSY = 0.5
"""The load average above which other programs are assumed to be running."""


@dataclass(frozen=True)
class Bench:
    """Speed and memory of every network and path, compared with torch.nn, and with labml_nn and JAX if installed.

    All implementations run in turn in one process, in float32 on the CPU. The outputs, final state and gradients of each are
    first compared with those of the reference path. An implementation that differs is not measured, and the exit code is 1.
    With the defaults it takes about half an hour; `--networks hyper-lstm --sizes small` takes one minute.
    """

    sizes: tuple[Literal["small", "labml", "ptb"], ...] = ("small", "labml", "ptb")
    """T, B, I, H, K, Z: small 128, 32, 256, 256, 64, 16; labml 512, 2, 512, 512, 16, 16; ptb 100, 128, 128, 1000, 128, 16."""
    networks: tuple[NetworkName, ...] = tuple(name for name in FAMILIES if not name.endswith(VARIANTS))
    """The networks to measure. `gru` and `rnn` are also compared with nn.GRU and nn.RNN."""
    quantities: tuple[Quantity, ...] = QUANTITIES
    """forward: without gradients; training: forward and backward; generation: one step with B = 1, I = H = 512, K = Z = 16;
    memory: the peak of a training step, in a separate process."""
    repeats: int = 5
    """Number of rounds. Minimum and median are reported."""
    threads: int | None = None
    """Threads of each implementation (default: torch's own number)."""
    curves: bool = False
    """Also measure training steps along T (up to 8192, with memory), along B and along H."""
    busy: bool = False
    """Time our paths and torch's networks again while another process keeps one core busy."""
    compiled: bool = False
    """Include the compiled path. Compiling takes a while for each network and size."""
    json: Path | None = None
    """Write every number to this file, with versions, processor and command."""
    plot: Path | None = None
    """Draw the ratios, and the curves with --curves, into this SVG file (requires matplotlib)."""
    against: Path | None = None
    """Instead, compare this source tree with another one, such as a checkout of an earlier commit: each network of each tree
    runs in a process of its own, with the same weights, timed in turn. Memory is not compared."""

    def __call__(self) -> None:
        """Measure and print.

        Raises:
            UsageError: a setting is wrong.
            FaultError: at the end, if an implementation was refused.
        """
        self._check()
        with _threads(self.threads):
            about = self._about()
            print(_introduction(about))
            measurements: list[Measurement] = []
            for group in self._groups():
                measurements += group.measurements
                self._write(about, measurements)  # so that no measurement is lost if a later one fails
        if self.json is not None:
            print(f"\nnumbers: {self.json}")
        if self.plot is not None:
            write_whole(self.plot, draw(measurements, _introduction(about).splitlines()[0]).encode())
            print(f"plot: {self.plot}")
        if refused := [measurement for measurement in measurements if measurement.refusal is not None]:
            raise FaultError(f"{len(refused)} of {len(measurements)} were not measured; the reasons are given above")

    def _check(self) -> None:
        """Check everything that would otherwise fail only at the end."""
        for name in ("sizes", "networks", "quantities"):
            given = getattr(self, name)
            if not given or len(set(given)) != len(given):
                raise UsageError(f"{name} should be one or more, all different, got {' '.join(given) or 'none'}")
        check_count("repeats", self.repeats)
        if self.threads is not None:
            check_count("threads", self.threads)
        for flag, path in (("--json", self.json), ("--plot", self.plot)):
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise UsageError(f"{flag} should be a file in an existing folder, got {path}")
        if self.plot is not None and self.plot.suffix != ".svg":
            raise UsageError(f"--plot should end in .svg, got {self.plot}")
        if self.against is not None:
            against.package_folder(self.against)
            if given := [name for name in ("curves", "busy", "compiled", "plot") if getattr(self, name)]:
                raise UsageError(f"--against compares the trees at the given sizes: leave --{given[0]} out")
            if not set(self.quantities) & set(against.QUANTITIES):
                raise UsageError(f"--against compares {', '.join(against.QUANTITIES)}, got {' '.join(self.quantities)}")
        if self.plot is not None and find_spec("matplotlib") is None:
            raise UsageError("--plot requires matplotlib: pip install 'hypernetworks[plot]'")

    def _write(self, about: dict[str, Any], measurements: Sequence[Measurement]) -> None:
        """Write the measurements so far to the JSON file, if there is one."""
        if self.json is not None:
            numbers = about | {"measurements": [measurement.as_json() for measurement in measurements]}
            write_whole(self.json, (json.dumps(numbers, indent=1) + "\n").encode())

    def _groups(self) -> Iterator[Group]:
        """Measure every group, and print each as soon as it is ready."""
        if self.against is not None:
            yield from self._compared(self.against)
            return
        for size, quantities in self._plan():
            benchmarks = [
                NetworkBenchmark(network, size, repeats=self.repeats, busy=self.busy, with_compiled=self.compiled)
                for network in self.networks
            ]
            for quantity in quantities:
                print(heading(quantity, size, self.networks, self.busy), flush=True)
                for benchmark in benchmarks:
                    group = benchmark.measure(quantity)
                    for row in rows(group):
                        print(row, flush=True)
                    yield group

    def _compared(self, tree: Path) -> Iterator[Group]:
        """The same for this source tree and another."""
        folders = {against.THIS: against.this_tree(), against.OTHER: against.package_folder(tree)}
        with contextlib.ExitStack() as stack:
            trees = [
                stack.enter_context(against.Tree(name, folder, torch.get_num_threads()))
                for name, folder in folders.items()
            ]
            for size, quantities in self._plan():
                compared: list[Quantity] = [one for one in quantities if one != "memory"]
                for quantity in compared:
                    print(against.heading(quantity, size), flush=True)
                    for network in self.networks:
                        group = against.compare(network, size, quantity, trees, self.repeats)
                        for row in against.rows(group):
                            print(row, flush=True)
                        yield group

    def _plan(self) -> Iterator[tuple[Size, Sequence[Quantity]]]:
        """Sizes and the quantities to measure at each, in order."""
        measurable = is_measurable()
        if not measurable:
            print("memory is not measured: this system does not report the peak memory of a process (Linux does)")

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
        """Everything that the measurements depend on."""
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
        """The command line that repeats this run."""
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
    except PackageNotFoundError:  # importable, but not installed as a distribution
        return "unknown"


def _introduction(about: dict[str, Any]) -> str:
    """The lines above the tables."""
    versions = about["versions"]
    present = [f"{name} {number}" for name, number in versions.items() if number is not None]
    lines = [f"{about['processor']}, {about['threads']} threads, {about['dtype']}; {', '.join(present)}"]
    lines += [f"min and median of {about['repeats']} rounds in turn; ratios are of minima"]
    if (about["load"] or 0) > BUSY:
        lines += [f"other programs are running (load average {about['load']}): the times will be unreliable"]
    how = {"labml_nn": "pip install --no-deps labml-nn==0.5.1", "jax": "pip install 'hypernetworks[jax]'"}
    lines += [f"without {name}, which is not installed: {how[name]}" for name in how if versions[name] is None]
    if library() is None:
        lines += ["without the native path: `hypernetworks doctor` gives the reason"]
    return "\n".join(lines)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Set the number of torch's threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
