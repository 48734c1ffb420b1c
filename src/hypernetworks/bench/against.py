"""The same network of two source trees, each in a process of its own, timed in turn.

Both get the same weights, input and cotangent. What each computes is first compared with this tree's reference path, as every
implementation is (parity.py), and only trees that agree with it are timed.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

import hypernetworks as hn
from hypernetworks.bench import timing
from hypernetworks.bench.case import Case, make_case, settings_of
from hypernetworks.bench.implementation import (
    GENERATED,
    TOLERANCE,
    Implementation,
    NamedTensors,
    RunResult,
    hn_names,
    our_network,
)
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.parity import check
from hypernetworks.bench.sizes import DESCRIPTIONS, Quantity, Size
from hypernetworks.bench.table import MS
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.networks import NetworkName
from hypernetworks.recurrent.families import FAMILIES

THIS, OTHER = "this tree", "other tree"
QUANTITIES: tuple[Quantity, ...] = ("forward", "training", "generation")
"""What is compared. Peak memory is not."""


def package_folder(tree: Path) -> Path:
    """The folder of a source tree that contains the package: its `src`, or the tree itself.

    Raises:
        UsageError: there is no package.
    """
    for folder in (tree / "src", tree):
        if (folder / "hypernetworks" / "__init__.py").is_file():
            return folder.resolve()
    raise UsageError(f"--against should be a source tree with src/hypernetworks in it, got {tree}")


class Tree(Implementation):
    """The networks of one source tree, run by a process of its own."""

    tolerance: float | None = TOLERANCE

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name = name
        worker = Path(__file__).with_name("worker.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(worker), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(folder)},
        )
        try:
            imported = Path(self._answer())
            if not imported.is_relative_to(folder):
                raise FaultError(f"the process for {folder} imported {imported}: run it where PYTHONPATH is respected")
        except FaultError:
            self.close()
            raise

    def make(self, case: Case, folder: Path) -> None:
        """Make the network of a case; the folder is for files."""
        file = folder / "case.pt"
        torch.save({"parameters": case.module.state_dict(), "x": case.x.detach(), "cotangent": case.cotangent}, file)
        self._results = folder / f"{self.name}.pt"
        self._refusal = None
        settings = settings_of(case.network, case.size)
        try:
            self._ask("make", network=FAMILIES[case.network].network.__name__, settings=settings, file=str(file))
        except RuntimeError as error:
            self._refusal = error

    def run(self, quantity: Quantity) -> RunResult:
        """Do it once, in the other process."""
        self.seconds(quantity, 1)
        return RunResult()

    def results(self, quantity: Quantity) -> NamedTensors:
        """Everything that a run computes.

        Raises:
            RuntimeError: the network could not be made, or does not run.
        """
        if self._refusal is not None:
            raise self._refusal
        self._ask("results", quantity=quantity, steps=steps_of(quantity), file=str(self._results))
        results = torch.load(self._results, weights_only=True)
        of_x = () if results["of_x"] is None else (results["of_x"],)
        return hn_names(results["output"], results["state"], of_x, results["gradients"])

    def seconds(self, quantity: Quantity, calls: int) -> float:
        """The seconds of one run, measured over a number of calls."""
        return self._ask("time", quantity=quantity, steps=steps_of(quantity), calls=calls)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        """The tree itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self.close()

    def _ask(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which the answer shows
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise FaultError(f"the process of {self.name} ended with code {self._process.wait()}; its message is above")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


def steps_of(quantity: Quantity) -> int:
    """How many steps one run does, of which the time of one is reported."""
    return GENERATED if quantity == "generation" else 1


def compare(network: NetworkName, size: Size, quantity: Quantity, trees: Sequence[Tree], repeats: int) -> Group:
    """Compare and time a network of each tree."""
    case = make_case(network, size)
    with TemporaryDirectory() as folder:
        for tree in trees:
            tree.make(case, Path(folder))
        implementations = {"reference": our_network(case, "reference")} | {tree.name: tree for tree in trees}
        verdicts = check(case, implementations, quantity)
        passed = [tree for tree in trees if verdicts[tree.name].refusal is None]
        times = _in_turn(passed, quantity, repeats)
    return Group(
        [
            Measurement(
                quantity=quantity,
                size=size,
                network=network,
                implementation=tree.name,
                values=tuple(times.get(tree.name, ())),
                difference=verdicts[tree.name].difference,
                refusal=verdicts[tree.name].refusal,
            )
            for tree in trees
        ]
    )


def _in_turn(trees: Sequence[Tree], quantity: Quantity, repeats: int) -> Mapping[str, list[float]]:
    """The seconds of each round by the names of the trees; every round times all of them."""
    calls = {tree.name: max(1, int(timing.SAMPLE / max(tree.seconds(quantity, 1), 1e-9))) for tree in trees}
    times: dict[str, list[float]] = {tree.name: [] for tree in trees}
    for _ in range(repeats):
        for tree in trees:
            times[tree.name].append(tree.seconds(quantity, calls[tree.name]) / steps_of(quantity))
    return times


def heading(quantity: Quantity, size: Size) -> str:
    """The heading above the rows of a quantity and size."""
    columns = f"{THIS + ' ms':>16}{OTHER + ' ms':>16}{'this / other':>14}{'differ':>18}"
    return f"\n{DESCRIPTIONS[quantity]} · {size}\n{'network':<24}{columns}"


def rows(group: Group) -> Iterable[str]:
    """One line for a network, or one for each tree that was refused."""
    this, other = group.measurements
    if refused := [measurement for measurement in (this, other) if measurement.refusal is not None]:
        for measurement in refused:
            yield f"{this.network:<24}  {measurement.implementation} not measured: {measurement.refusal}"
        return
    assert this.least is not None
    assert other.least is not None
    times = f"{this.least * MS:>16.3f}{other.least * MS:>16.3f}{this.least / other.least:>14.3f}"
    yield f"{this.network:<24}{times}{this.difference or 0:>9.1g}{other.difference or 0:>9.1g}"


def this_tree() -> Path:
    """The folder that contains this package."""
    return Path(hn.__file__).resolve().parents[1]
