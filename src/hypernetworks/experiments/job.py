"""One trial or final run of a study: claimed by one process, trained to its end, kept as a result."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic

from filelock import FileLock, Timeout

from hypernetworks.errors import DivergedError, FaultError
from hypernetworks.experiments.comparison import figures_of
from hypernetworks.experiments.curves import points
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.parts import Config, Data, Model
from hypernetworks.experiments.plan import Plan
from hypernetworks.experiments.results import RESULTS, Result, write_result
from hypernetworks.experiments.search import Search, State, TrialResult
from hypernetworks.runs.run import Run

__all__ = ["SCORE", "Job", "Worker", "trial_of"]

SCORE = "validation_loss"


@dataclass(frozen=True)
class Job:
    """A trial or a final run."""

    name: str
    variant: str
    values: Mapping[str, Any]
    """The searched settings by their paths."""
    seed: int
    search: Search | None = None
    """The search of a trial; None for a final run."""
    trial: int | None = None
    """The number of the trial."""
    steps: int = 0
    """Training steps; 0: as many as the plan says of final runs."""
    results: str = RESULTS
    """The folder of its result, in that of the study."""


class _PrunedError(Exception):
    """Ends the training of a trial that is no longer worth it."""


class Worker(Generic[Config, Data, Model]):
    """Trains the jobs of the study in a folder.

    Args:
        experiment, folder, plan, data: those of the study.
        study: its checksum, which every result holds.
    """

    def __init__(
        self, experiment: Experiment[Config, Data, Model], folder: Path, plan: Plan[Config], data: Data, study: str
    ) -> None:
        self.experiment: Experiment[Config, Data, Model] = experiment
        self.folder: Path = folder
        self.plan: Plan[Config] = plan
        self.data = data
        self.study: str = study

    def claim(self, job: Job) -> FileLock | None:
        """The lock of a job, unless another process has it. The system releases the lock of a process that ends."""
        lock = FileLock(self.folder / "locks" / f"{job.name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    def do(self, job: Job) -> None:
        """Train a claimed job, keep its result, and log it."""
        config: Any = self.plan.configure(job.variant, job.values)
        schedule = replace(config.schedule, seed=job.seed, steps=job.steps or config.schedule.steps)
        config = replace(config, schedule=schedule)
        place = self.folder / ("finals" if job.search is None else "trials") / job.name
        state = self._train(job, place, config)
        result = self._result(job, state, config, Run.open(place))
        write_result(self.folder / job.results, result)
        if job.search is not None:
            job.search.finish(trial_of(result))
            shutil.rmtree(place, ignore_errors=True)
        self._log(result.line())

    def _train(self, job: Job, place: Path, config: Config) -> State:
        """Train to the end, or until the trial is pruned or diverges; how it ended."""

        def watch(row: Mapping[str, Any]) -> None:
            if job.search is not None and job.trial is not None and SCORE in row:
                worse = job.search.report(job.trial, [(row["step"], row[SCORE])])
                if worse and row["step"] < config.schedule.steps:
                    raise _PrunedError

        if place.exists() and not self._is_run_of(place, config):
            shutil.rmtree(place)
        try:
            if place.exists():
                self.experiment.resume(place, self.data, job.name, watch)
            else:
                self.experiment.train(place, config, self.data, job.name, watch)
        except _PrunedError:
            return "pruned"
        except DivergedError as error:
            if job.search is None and not any(SCORE in row for row in Run.open(place).metrics()):
                raise FaultError(
                    f"{error}: it has no model, and a final run cannot be left out: give other seeds, and another --out"
                ) from error
            return "diverged"
        return "complete"

    def _is_run_of(self, place: Path, config: Config) -> bool:
        """Whether a folder holds a run of these settings, not what a process left that was killed while it made the folder."""
        return (place / "config.json").exists() and not self.experiment.changed_settings(place, config, self.data)

    def _result(self, job: Job, state: State, config: Config, run: Run) -> Result:
        experiment, final = self.experiment, job.search is None
        record = experiment.record(self.data)
        flops = experiment.flops_per_step(config, record)
        made: Any = config
        return Result(
            name=job.name,
            variant=job.variant,
            trial=job.trial,
            seed=job.seed,
            state=state,
            values=dict(job.values),
            curve=[point._asdict() for point in points(run.metrics(), SCORE, flops)],
            figures=figures_of(experiment, config, record, [run]) if state == "complete" else {},
            scores=experiment.final_scores(run, self.data) if final else {},
            settings=asdict(made),
            environment={name: run.config[name] for name in ("versions", "machine")},
            sample=self._sample(run, state) if final else "",
            study=self.study,
        )

    def _sample(self, run: Run, state: State) -> str:
        """What the best model of a final run makes. One that diverged counts with that model, but did not come to `finish`."""
        return self.experiment.outcome(run) if state == "complete" else self.experiment.sample(run.folder)

    def _log(self, line: str) -> None:
        text = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}"
        print(text, flush=True)
        try:
            with (self.folder / "study.log").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise FaultError(f"{self.folder / 'study.log'}: cannot be written: {error.strerror or error}") from error


def trial_of(result: Result) -> TrialResult:
    """A trial's result as its search reads it."""
    assert result.trial is not None
    losses = [(int(point["step"]), point["value"]) for point in result.curve]
    return TrialResult(result.trial, result.state, result.values, losses)
