"""The results of a study: one JSON file for each finished trial and run, a few kilobytes each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hypernetworks.errors import UsageError
from hypernetworks.experiments.curves import Point
from hypernetworks.experiments.search import State
from hypernetworks.files import json_object, read_whole, write_whole

__all__ = ["RESULTS", "RESULTS_AT_EQUAL_TIME", "Result", "read_results", "write_result"]

RESULTS = "results"
"""The folder of the results, in that of their study."""

RESULTS_AT_EQUAL_TIME = f"{RESULTS}/equal-time"
"""The folder of the results of runs at equal training time."""

_LIMIT = 1 << 22  # bytes
_ADVICE = "put back the file, or remove it to train this again"


@dataclass(frozen=True)
class Result:
    """A finished trial or final run."""

    name: str
    variant: str
    trial: int | None
    """The number of the trial; None for a final run."""
    seed: int
    state: State
    values: Mapping[str, Any]
    """The searched settings by their paths."""
    curve: Sequence[Mapping[str, float]]
    """Step, seconds, flops and value of every validation."""
    figures: Mapping[str, float]
    """Size and cost; empty if it did not complete."""
    scores: Mapping[str, float]
    """Further scores of a final run."""
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    """Versions and machine."""
    sample: str = ""
    """What the best model of a final run made, as text."""
    study: str = ""
    """The checksum of the study. Results of earlier versions lack it, and the sample."""

    @property
    def is_final(self) -> bool:
        """Whether it is a final run, not a trial."""
        return self.trial is None

    @property
    def score(self) -> float:
        """The lowest validation loss; infinite if there was none."""
        return min((point["value"] for point in self.curve), default=float("inf"))

    def is_trial_of(self, variant: str) -> bool:
        """Whether it is a trial of this variant."""
        return self.variant == variant and self.trial is not None

    def line(self) -> str:
        """For the log."""
        if not self.curve:
            return f"{self.name}  {self.state} before its first validation  {_shown(self.values)}"
        best = min(self.curve, key=lambda point: point["value"])
        last = self.curve[-1]
        ended = self.state if self.state == "complete" else f"{self.state} at step {last['step']}"
        more = "".join(f", {name} {value:.4f}" for name, value in self.scores.items())
        return (
            f"{self.name}  {ended}  {best['value']:.4f} at step {best['step']}{more}, {last['seconds']:.0f} s  "
            f"{_shown(self.values)}"
        )


def write_result(folder: Path, result: Result) -> None:
    """Write a result atomically; FaultError if it could not be written."""
    write_whole(folder / f"{result.name}.json", (json.dumps(asdict(result), indent=1) + "\n").encode())


def read_results(folder: Path) -> dict[str, Result]:
    """The results in a folder by name; none if there is no folder.

    Raises:
        UsageError: a file is not a result, or was renamed; the message names it.
        FaultError: a file could not be read.
    """
    made = {}
    for path in sorted(folder.glob("*.json")):
        try:
            values = json_object(read_whole(path, _LIMIT), str(path))
        except UsageError as error:
            raise UsageError(f"{error}: {_ADVICE}") from error
        if not _is_result(values) or values["name"] != path.stem:
            raise UsageError(f"{path}: not the result of that name: {_ADVICE}")
        made[path.stem] = Result(**values)
    return made


def _is_result(values: Mapping[str, Any]) -> bool:
    known = fields(Result)
    required = {item.name for item in known if item.default is MISSING}
    if not required <= set(values) <= {item.name for item in known}:
        return False
    match values:
        case {
            "name": str(),
            "variant": str(),
            "trial": None | int(),
            "seed": int(),
            "state": "complete" | "pruned" | "diverged",
            "values": dict(),
            "curve": list(curve),
            "figures": dict(),
            "scores": dict(),
            "settings": dict(),
            "environment": dict(),
        }:
            return all(isinstance(point, dict) and set(point) == set(Point._fields) for point in curve)
    return False


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path.rpartition('.')[2]} {f'{value:.4g}' if isinstance(value, float) else value}"
        for path, value in values.items()
    )
