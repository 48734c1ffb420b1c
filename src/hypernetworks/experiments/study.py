"""A study: a search for the best settings of every variant, with equal numbers of trials, then finalists with several seeds.

    study.json          the plan; a folder holds one study
    search.db           Optuna's storage
    study.log           one line for each finished trial and run
    trials/, finals/    the run folders; that of a trial is removed when it has finished
    results/            settings, curve and score of every finished trial and run, as JSON
    report.md, *.svg, curves.csv

results/ is the record: the report is made from it alone, and a lost search.db, too. Several processes may work on one study.
Each takes a trial or a run, holds its lock while it trains, and takes the next. A process that is killed releases its lock, and
what it trained is continued by the next process that finds it.
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, NamedTuple

from filelock import FileLock, Timeout

from hypernetworks.errors import DivergedError, FaultError, UsageError
from hypernetworks.experiments.comparison import figures_of
from hypernetworks.experiments.curves import points
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.parts import Config, Data, Model
from hypernetworks.experiments.plan import SEARCH_SEED, Plan, plan_differences
from hypernetworks.experiments.results import Result, read_results, write_result
from hypernetworks.experiments.search import Search, TrialResult
from hypernetworks.files import json_object, make_folder, read_whole, write_whole
from hypernetworks.runs.run import CONFIG_LIMIT, Run

__all__ = ["Study", "best_trial"]

_WAIT_SECONDS = 2.0  # between two looks at what other processes do
_SCORE = "validation_loss"


class _Job(NamedTuple):
    """A trial or a final run that this process has claimed."""

    name: str
    variant: str
    values: Mapping[str, Any]
    trial: int | None
    """The number of the trial; None for a final run."""
    seed: int
    lock: FileLock


class _PrunedError(Exception):
    """Ends the training of a trial that is no longer worth it."""


class Study(Generic[Config, Data, Model]):
    """Works on the study in a folder.

    Args:
        experiment: what is trained.
        folder: the study's folder.
        plan: what the study does.
        data: what all runs read.
        resume: continue the study in the folder, if there is one.

    Raises:
        UsageError: the folder holds a study and `resume` is False, or one with another plan, or its search.db is damaged or
            belongs to another study.
        FaultError: a file could not be read or written.
    """

    def __init__(
        self, experiment: Experiment[Config, Data, Model], folder: Path, plan: Plan[Config], data: Data, resume: bool
    ) -> None:
        self.experiment, self.folder, self.plan, self.data = experiment, folder, plan, data
        written = experiment.name, plan.to_json(), experiment.record(data)
        content = dict(zip(("experiment", "plan", experiment.data_key), written, strict=True))
        make_folder(folder)
        with self._turn():
            self._check(content, resume)
            for name in ("trials", "finals", "results", "locks"):
                make_folder(folder / name)
            digest = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
            results = self.results()
            self._searches: dict[str, Search] = {}
            for variant in plan.variants:
                search = Search(folder / "search.db", variant, plan.spaces[variant], plan.pruning, SEARCH_SEED, digest)
                search.restore([_trial_of(result) for result in results.values() if result.is_trial_of(variant)])
                self._searches[variant] = search

    def results(self) -> dict[str, Result]:
        """All finished trials and runs by name."""
        return read_results(self.folder / "results")

    def work(self) -> None:
        """Train what is left to train, until everything has finished, here or in another process."""
        waiting = False
        try:
            while True:
                job = self._next()
                if job is not None:
                    waiting = False
                    self._do(job)
                elif len(self._finals()) == len(self.plan.variants) * len(self.plan.seeds):
                    return
                else:
                    if not waiting:
                        print("waiting for trials and runs of other processes", flush=True)
                    waiting = True
                    time.sleep(_WAIT_SECONDS)
        finally:
            for search in self._searches.values():
                search.close()

    def best(self, variant: str) -> Result:
        """The finished trial with the lowest loss.

        Raises:
            UsageError: every trial diverged or was pruned.
        """
        return best_trial(self.results(), variant, self.folder)

    def _check(self, content: Mapping[str, Any], resume: bool) -> None:
        path = self.folder / "study.json"
        if not path.exists():
            if any(self.folder.joinpath(name).exists() for name in ("search.db", "results")):
                raise UsageError(
                    f"{path}: missing, although the folder holds a study: put it back, or give another --out"
                )
            write_whole(path, (json.dumps(content, indent=2) + "\n").encode())
            return
        if not resume:
            raise UsageError(f"{self.folder}: already holds a study: give --resume to continue it, or another --out")
        found = json_object(read_whole(path, CONFIG_LIMIT), str(path))
        if changed := plan_differences(found, json.loads(json.dumps(content))):
            raise UsageError(f"{self.folder}: holds another study: {changed}: give the same flags, or another --out")

    def _turn(self) -> FileLock:
        """A short lock: one process at a time chooses what to do next."""
        return FileLock(self.folder / "study.lock")

    def _finals(self) -> list[Result]:
        return [result for result in self.results().values() if result.trial is None]

    def _next(self) -> _Job | None:
        """Claim an unfinished trial, a new trial of the variant with the fewest, or a final run, in this order."""
        with self._turn():
            results = self.results()
            for variant, search in self._searches.items():
                for number, values in search.unfinished():
                    if job := self._claim(_trial_name(variant, number), variant, values, number, SEARCH_SEED):
                        if (result := results.get(job.name)) is None:
                            return job
                        search.finish(_trial_of(result))  # its process was killed before it entered the result
                        job.lock.release()
            variant = min(self.plan.variants, key=lambda variant: self._searches[variant].asked())
            if self._searches[variant].asked() < self.plan.trials:
                number, values = self._searches[variant].ask()
                return self._claim(_trial_name(variant, number), variant, values, number, SEARCH_SEED)
            return self._next_final(results)

    def _next_final(self, results: Mapping[str, Result]) -> _Job | None:
        # all variants with the first seed, then with the next, so that an interrupted study still compares
        for seed in self.plan.seeds:
            for variant in self.plan.variants:
                name = f"{variant}-seed{seed}"
                if name in results or self._searches[variant].unfinished():
                    continue
                values = best_trial(results, variant, self.folder).values
                if job := self._claim(name, variant, values, None, seed):
                    return job
        return None

    def _claim(self, name: str, variant: str, values: Mapping[str, Any], trial: int | None, seed: int) -> _Job | None:
        """A job, unless another process has it. The system releases the lock of a process that ends."""
        lock = FileLock(self.folder / "locks" / f"{name}.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return _Job(name, variant, values, trial, seed, lock)

    def _do(self, job: _Job) -> None:
        """Train a job, keep its result, and log it."""
        try:
            config: Any = self.plan.configure(job.variant, job.values)
            steps = self.plan.trial_steps if job.trial is not None else 0
            schedule = replace(config.schedule, seed=job.seed, steps=steps or config.schedule.steps)
            config = replace(config, schedule=schedule)
            place = self.folder / ("finals" if job.trial is None else "trials") / job.name
            state = self._train(job, place, config)
            result = self._result(job, state, config, Run.open(place))
            write_result(self.folder / "results", result)
            if job.trial is not None:
                self._searches[job.variant].finish(_trial_of(result))
                shutil.rmtree(place, ignore_errors=True)
            self._log(result.line())
        finally:
            job.lock.release()

    def _train(self, job: _Job, place: Path, config: Config) -> Any:
        """Train to the end, or until the trial is pruned or diverges; how it ended."""

        def watch(row: Mapping[str, Any]) -> None:
            if job.trial is not None and _SCORE in row:
                worse = self._searches[job.variant].report(job.trial, [(row["step"], row[_SCORE])])
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
            if job.trial is None:
                raise FaultError(
                    f"{error}: a final run cannot be left out: give other seeds, and another --out"
                ) from error
            return "diverged"
        return "complete"

    def _is_run_of(self, place: Path, config: Config) -> bool:
        """Whether a folder holds a run of these settings, not what a process left that was killed while it made the folder."""
        return (place / "config.json").exists() and self.experiment.recorded(place).config == config

    def _result(self, job: _Job, state: Any, config: Config, run: Run) -> Result:
        record = self.experiment.record(self.data)
        flops = self.experiment.flops_per_step(config, record)
        made: Any = config
        return Result(
            name=job.name,
            variant=job.variant,
            trial=job.trial,
            seed=job.seed,
            state=state,
            values=dict(job.values),
            curve=[point._asdict() for point in points(run.metrics(), _SCORE, flops)],
            figures=figures_of(self.experiment, config, record, [run]) if state == "complete" else {},
            scores=self.experiment.final_scores(run, self.data) if job.trial is None else {},
            settings=asdict(made),
            environment={name: run.config[name] for name in ("versions", "machine")},
        )

    def _log(self, line: str) -> None:
        text = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}"
        print(text, flush=True)
        try:
            with (self.folder / "study.log").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:
            raise FaultError(f"{self.folder / 'study.log'}: cannot be written: {error.strerror or error}") from error


def best_trial(results: Mapping[str, Result], variant: str, place: Path) -> Result:
    """The complete trial of a variant with the lowest loss; UsageError if there is none."""
    complete = [result for result in results.values() if result.is_trial_of(variant) and result.state == "complete"]
    if not complete:
        raise UsageError(f"{place}: no trial of {variant} is complete")
    return min(complete, key=lambda result: (result.score, result.trial))


def _trial_name(variant: str, number: int) -> str:
    return f"{variant}-trial{number:03}"


def _trial_of(result: Result) -> TrialResult:
    assert result.trial is not None
    losses = [(int(point["step"]), point["value"]) for point in result.curve]
    return TrialResult(result.trial, result.state, result.values, losses)
