"""The command `report`, which every experiment with a report has.

An experiment subclasses it to set `experiment` and to say what its page shows besides the curves.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tyro.conf import Positional

from hypernetworks.errors import UsageError
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.report import ReportedRun, different_data, load_reported
from hypernetworks.files import write_whole
from hypernetworks.processes import warn_once
from hypernetworks.training.device import find_device

__all__ = ["ReportCommand"]


@dataclass(frozen=True)
class ReportCommand(ABC):
    """Write an HTML page about a run. It needs no network and no other file, and compares the first run with the others."""

    experiment: ClassVar[Experiment[Any, Any, Any]]

    runs: Positional[tuple[Path, ...]]
    """The run's folder, then the folders of runs to compare it with."""
    out: Path | None = None
    """The page's file; default: report.html in the run's folder."""
    device: str = "auto"
    """cpu, cuda, …; auto uses cuda if available."""

    @abstractmethod
    def make_page(self, runs: Sequence[ReportedRun]) -> str:
        """The page of the first run, compared with the others."""

    def __call__(self) -> None:
        """Write the page and print its path."""
        if not self.runs:
            raise UsageError("runs should be one or more folders, got none")
        device = find_device(self.device)
        runs = [load_reported(self.experiment, folder, device) for folder in self.runs]
        out = self.out or self.runs[0] / "report.html"
        warn_once(different_data(self.experiment, runs))
        written = self.make_page(runs)
        write_whole(out, written.encode("utf-8", "replace"))  # an alphabet may hold a lone surrogate, which UTF-8 lacks
        print(f"report: {out}")
