"""What a study has found, read from the files that are its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypernetworks.experiments.equal_time import read_equal_time, read_step_times
from hypernetworks.experiments.results import RESULTS, RESULTS_AT_EQUAL_TIME, Result, read_results

__all__ = ["Record", "read_record"]


@dataclass(frozen=True)
class Record:
    """What a study has found."""

    results: Sequence[Result]
    """All trials and final runs."""
    step_times: Mapping[str, float] = field(default_factory=dict)
    """The seconds of a training step of each variant; none if they were not measured."""
    at_equal_time: Sequence[Result] = ()
    """The final runs of the variants that are compared at equal training time; none if they have not finished."""


def read_record(folder: Path) -> Record:
    """Read the record of the study in a folder.

    Raises:
        UsageError: a file is damaged, or is not of that study.
        FaultError: a file could not be read.
    """
    results = list(read_results(folder / RESULTS).values())
    variants = list(dict.fromkeys(result.variant for result in results))
    return Record(results, read_step_times(folder, variants), _at_equal_time(folder, results))


def _at_equal_time(folder: Path, results: Sequence[Result]) -> list[Result]:
    made = read_equal_time(folder)
    if made is None:
        return []
    finals = [result for result in results if result.is_final and result.variant in made.steps]
    again = list(read_results(folder / RESULTS_AT_EQUAL_TIME).values())
    runs = [*again, *(result for result in finals if result.variant not in made.stretched)]
    missing = {(run.variant, run.seed) for run in finals} - {(run.variant, run.seed) for run in runs}
    return [] if missing else runs
