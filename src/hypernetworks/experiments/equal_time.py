"""Comparing at equal training time: how long a step of each finalist takes, and how many steps fit in the time of the slowest.

    t_v = the shortest of several training steps of v's best settings, all variants in turn in one process
    T   = max_v steps · t_v,   steps_v = ⌊T / t_v⌋

The seconds that runs log are those of a machine that they shared. A step's time is therefore measured apart, when nothing else
runs, and stored in the study's folder; so are the steps, so that all processes train the same runs.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypernetworks.errors import UsageError
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.files import json_object, read_whole, write_whole
from hypernetworks.runs.machine import environment
from hypernetworks.runs.run import CONFIG_LIMIT, Run
from hypernetworks.training.loop import Trainer

__all__ = ["EqualTime", "measure_steps", "read_equal_time", "read_step_times", "write_equal_time", "write_step_times"]

STEP_TIMES, EQUAL_TIME = "step-times.json", "equal-time.json"
_MEASURE = "put back the file, or measure again with --resume --time, when nothing else runs"
_PUT_BACK = "put back the file, or remove it and results/equal-time"
_ROUNDS, _STEPS = 8, 3  # each round takes some steps of every variant


@dataclass(frozen=True)
class EqualTime:
    """A comparison at equal training time."""

    own: Mapping[str, int]
    """The training steps of each variant's final runs."""
    steps: Mapping[str, int]
    """Those that fit in the time of the slowest."""
    seconds: float
    """T."""

    @classmethod
    def of(cls, step_times: Mapping[str, float], steps: Mapping[str, int]) -> "EqualTime":
        """The steps of each variant that fit in the time in which the slowest takes its own `steps`."""
        total = max(own * step_times[variant] for variant, own in steps.items())
        # ⌊T / t_v⌋; for the slowest, whose quotient may be rounded down, its own
        fitting = {variant: max(own, int(total / step_times[variant])) for variant, own in steps.items()}
        return cls(steps, fitting, total)

    @property
    def stretched(self) -> list[str]:
        """The variants that are trained again, with more steps."""
        return [variant for variant, steps in self.steps.items() if steps > self.own[variant]]


def measure_steps(experiment: Experiment[Any, Any, Any], configs: Mapping[str, Any], data: Any) -> dict[str, float]:
    """The seconds of a training step of each configuration: the shortest of several, measured in turn.

    A configuration is trained for some steps, and what it learns is thrown away. Nothing else should run meanwhile.
    """
    with TemporaryDirectory() as folder:
        trainers = {
            variant: Trainer(experiment.start(config, data), config.schedule, Run.create(Path(folder) / str(k), {}))
            for k, (variant, config) in enumerate(configs.items())
        }
        for trainer in trainers.values():
            trainer.take_step()  # the first one allocates, and may compile
        shortest = dict.fromkeys(configs, float("inf"))
        for _ in range(_ROUNDS):
            for variant, trainer in trainers.items():
                for _ in range(_STEPS):
                    began = time.perf_counter()
                    trainer.take_step()
                    shortest[variant] = min(shortest[variant], time.perf_counter() - began)
    return shortest


def write_step_times(folder: Path, seconds: Mapping[str, float]) -> None:
    """Write step-times.json, with the machine; FaultError if it could not be written."""
    milliseconds = {variant: round(1000 * time, 3) for variant, time in seconds.items()}
    content = {"milliseconds": milliseconds, "environment": environment()}
    write_whole(folder / STEP_TIMES, (json.dumps(content, indent=1) + "\n").encode())


def read_step_times(folder: Path, variants: Sequence[str]) -> dict[str, float]:
    """The seconds of a step by variant, from step-times.json; none if it was not measured.

    Raises:
        UsageError: the file holds something else, or lacks a variant.
    """
    path = folder / STEP_TIMES
    if not path.exists():
        return {}
    match _content(path, _MEASURE):
        case {"milliseconds": dict() as found} if set(found) >= set(variants) and all(map(_is_time, found.values())):
            return {variant: found[variant] / 1000 for variant in variants}
    raise UsageError(f"{path}: not the step times of this study: {_MEASURE}")


def read_equal_time(folder: Path) -> EqualTime | None:
    """The comparison at equal time from equal-time.json; None if there is none.

    Raises:
        UsageError: the file holds something else.
    """
    path = folder / EQUAL_TIME
    if not path.exists():
        return None
    match _content(path, _PUT_BACK):
        case {"own": dict() as own, "steps": dict() as steps, "seconds": int() | float() as seconds} if (
            own and set(own) == set(steps) and all(type(count) is int for count in (*own.values(), *steps.values()))
        ):
            return EqualTime(own, steps, seconds)
    raise UsageError(f"{path}: not a comparison at equal time: {_PUT_BACK}")


def write_equal_time(folder: Path, made: EqualTime) -> None:
    """Write equal-time.json; FaultError if it could not be written."""
    content = {"own": dict(made.own), "steps": dict(made.steps), "seconds": round(made.seconds, 3)}
    write_whole(folder / EQUAL_TIME, (json.dumps(content, indent=1) + "\n").encode())


def _content(path: Path, advice: str) -> dict[str, Any]:
    try:
        return json_object(read_whole(path, CONFIG_LIMIT), str(path))
    except UsageError as error:
        raise UsageError(f"{error}: {advice}") from error


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and value > 0
