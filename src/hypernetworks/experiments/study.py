"""A study: a search for the best settings of every variant, with equal numbers of trials, then finalists with several seeds.

    study.json          the plan; a folder holds one study
    search.db           Optuna's storage
    study.log           one line for each finished trial and run
    trials/, finals/    the run folders; that of a trial is removed when it has finished
    results/            settings, curve and score of every finished trial and run, as JSON
    step-times.json     the time of a training step of each variant, if it was measured
    equal-time.json     the steps of each variant in a comparison at equal training time; its results in results/equal-time/
    report.md, *.svg, curves.csv

results/ and the two files of times are the record: the report is made from them alone, and a lost search.db from results/.
Several processes may work on one study. Each takes a trial or a run, holds its lock while it trains, and takes the next. A
process that is killed releases its lock, and what it trained is continued by the next process that finds it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic

from filelock import FileLock

from hypernetworks.errors import UsageError
from hypernetworks.experiments.equal_time import (
    EqualTime,
    measure_steps,
    read_equal_time,
    read_step_times,
    write_equal_time,
    write_step_times,
)
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.job import Job, Worker, trial_of
from hypernetworks.experiments.parts import Config, Data, Model
from hypernetworks.experiments.plan import SEARCH_SEED, Plan
from hypernetworks.experiments.results import RESULTS, RESULTS_AT_EQUAL_TIME, Result, read_results
from hypernetworks.experiments.search import Search
from hypernetworks.experiments.space import Range
from hypernetworks.experiments.study_file import check_result, claim_folder
from hypernetworks.files import make_folder

__all__ = ["Study", "best_trial"]

_WAIT_SECONDS = 2.0  # between two looks at what other processes do

_Claimed = tuple[Job, FileLock]


class Study(Generic[Config, Data, Model]):
    """Works on the study in a folder.

    Args:
        experiment: what is trained.
        folder: the study's folder.
        plan: what the study does.
        data: what all runs read.
        resume: continue the study in the folder, if there is one.

    Raises:
        UsageError: the folder holds a study and `resume` is False, or one with another plan, or its search.db or a result is
            damaged or belongs to another study.
        FaultError: a file could not be read or written.
    """

    def __init__(
        self, experiment: Experiment[Config, Data, Model], folder: Path, plan: Plan[Config], data: Data, resume: bool
    ) -> None:
        self.experiment: Experiment[Config, Data, Model] = experiment
        self.folder: Path = folder
        self.plan: Plan[Config] = plan
        self.data = data
        make_folder(folder)
        with self._turn():
            digest = claim_folder(experiment, folder, plan, data, resume)
            for name in ("trials", "finals", RESULTS, RESULTS_AT_EQUAL_TIME, "locks"):
                make_folder(folder / name)
            self._worker = Worker(experiment, folder, plan, data, digest)
            results = self.results()
            for result in (*results.values(), *self.results_at_equal_time().values()):
                check_result(folder, result, plan, digest)
            self._searches: dict[str, Search] = {}
            for variant in plan.variants:
                search = Search(folder / "search.db", variant, plan.spaces[variant], plan.pruning, SEARCH_SEED, digest)
                search.restore([trial_of(result) for result in results.values() if result.is_trial_of(variant)])
                self._searches[variant] = search

    def results(self) -> dict[str, Result]:
        """All finished trials and runs by name."""
        return read_results(self.folder / RESULTS)

    def results_at_equal_time(self) -> dict[str, Result]:
        """The finished runs of the comparison at equal time, by name."""
        return read_results(self.folder / RESULTS_AT_EQUAL_TIME)

    def work(self) -> None:
        """Train what is left to train, until everything has finished, here or in another process."""
        finals = len(self.plan.variants) * len(self.plan.seeds)
        try:
            self._work(self._next, lambda: sum(result.is_final for result in self.results().values()) == finals)
        finally:
            for search in self._searches.values():
                search.close()

    def narrow_ranges(self) -> list[str]:
        """A line for each range of the search space that has the best value of a variant at its end."""
        results, lines = self.results(), []
        for variant in self.plan.variants:
            best = best_trial(results, variant, self.folder).values
            for path, values in self.plan.spaces[variant].items():
                if isinstance(values, Range) and values.is_near_end(best[path]):
                    lines.append(
                        f"{variant}: the best {path}, {best[path]:.3g}, is at an end of its range of {values.low:g} to "
                        f"{values.high:g}: a wider one may be better, and fairer"
                    )
        return lines

    def measure(self) -> None:
        """Measure how long a training step of each variant takes with its best settings, and write step-times.json.

        Raises:
            UsageError: a variant has no complete trial yet.
        """
        configs = {variant: self._best_config(variant) for variant in self.plan.variants}
        write_step_times(self.folder, measure_steps(self.experiment, configs, self.data))

    def work_at_equal_time(self, variants: Sequence[str]) -> None:
        """Train variants, which are finished, again with as many steps as fit in the training time of the slowest of them.

        The slowest itself is not trained again. The learning rate follows its schedule over all steps of a run.

        Raises:
            UsageError: a variant is not in the study or not finished, no step times were measured, or the folder holds a
                comparison of other variants.
        """
        with self._turn():
            made = self._equal_time(variants)
        results = self.results()
        jobs = [
            Job(
                f"{variant}-equal-time-seed{seed}",
                variant,
                best_trial(results, variant, self.folder).values,
                seed,
                steps=made.steps[variant],
                results=RESULTS_AT_EQUAL_TIME,
            )
            for seed in self.plan.seeds
            for variant in made.stretched
        ]

        def claim() -> _Claimed | None:
            with self._turn():
                return self._first_free(jobs)

        self._work(claim, lambda: {job.name for job in jobs} <= set(self.results_at_equal_time()))

    def check_equal_time(self, variants: Sequence[str]) -> None:
        """Check what `work_at_equal_time` is given, before the study is worked on.

        Raises:
            UsageError: a variant is not in the study, or there are fewer than two.
        """
        if unknown := [variant for variant in variants if variant not in self.plan.variants]:
            raise UsageError(f"--equal-time takes variants of the study, got {' '.join(unknown)}")
        if len(set(variants)) < 2:
            raise UsageError(f"--equal-time compares two or more variants, got {' '.join(variants) or 'none'}")

    def _equal_time(self, variants: Sequence[str]) -> EqualTime:
        self.check_equal_time(variants)
        times = read_step_times(self.folder, self.plan.variants)
        if not times:
            raise UsageError(f"{self.folder}: no step times: measure them with --time, when nothing else runs")
        if (made := read_equal_time(self.folder)) is None:
            steps = {variant: self._best_config(variant).schedule.steps for variant in variants}
            made = EqualTime.of(times, steps)
            write_equal_time(self.folder, made)
        if set(made.steps) != set(variants):
            raise UsageError(
                f"{self.folder}: holds a comparison at equal time of {' '.join(made.steps)}: give the same variants"
            )
        return made

    def _best_config(self, variant: str) -> Config:
        return self.plan.configure(variant, best_trial(self.results(), variant, self.folder).values)

    def _turn(self) -> FileLock:
        """A short lock: one process at a time chooses what to do next."""
        return FileLock(self.folder / "study.lock")

    def _work(self, claim: Callable[[], _Claimed | None], finished: Callable[[], bool]) -> None:
        waiting = False
        while True:
            if (claimed := claim()) is not None:
                waiting = False
                job, lock = claimed
                try:
                    self._worker.do(job)
                finally:
                    lock.release()
            elif finished():
                return
            else:
                if not waiting:
                    print("waiting for trials and runs of other processes", flush=True)
                waiting = True
                time.sleep(_WAIT_SECONDS)

    def _next(self) -> _Claimed | None:
        """Claim an unfinished trial, a new trial of the variant with the fewest, or a final run, in this order."""
        with self._turn():
            for variant, search in self._searches.items():
                for number, values in search.unfinished():
                    job = self._trial(variant, number, values)
                    if (lock := self._worker.claim(job)) is not None:
                        if (result := self.results().get(job.name)) is None:
                            return job, lock
                        search.finish(trial_of(result))  # its process was killed before it entered the result
                        lock.release()
            variant = min(self.plan.variants, key=lambda variant: self._searches[variant].asked())
            if self._searches[variant].asked() < self.plan.trials:
                job = self._trial(variant, *self._searches[variant].ask())
                lock = self._worker.claim(job)
                return None if lock is None else (job, lock)
            results = self.results()
            # all variants with the first seed, then with the next, so that an interrupted study still compares
            finals = [
                Job(f"{variant}-seed{seed}", variant, best_trial(results, variant, self.folder).values, seed)
                for seed in self.plan.seeds
                for variant in self.plan.variants
                if not self._searches[variant].unfinished()
            ]
            return self._first_free(finals)

    def _trial(self, variant: str, number: int, values: Mapping[str, Any]) -> Job:
        name = f"{variant}-trial{number:03}"
        return Job(name, variant, values, SEARCH_SEED, self._searches[variant], number, self.plan.trial_steps)

    def _first_free(self, jobs: Sequence[Job]) -> _Claimed | None:
        """The first job without a result that no other process has."""
        for job in jobs:
            if (lock := self._worker.claim(job)) is not None:
                if not (self.folder / job.results / f"{job.name}.json").exists():
                    return job, lock
                lock.release()
        return None


def best_trial(results: Mapping[str, Result], variant: str, place: Path) -> Result:
    """The complete trial of a variant with the lowest loss; UsageError if there is none."""
    complete = [result for result in results.values() if result.is_trial_of(variant) and result.state == "complete"]
    if not complete:
        raise UsageError(f"{place}: no trial of {variant} is complete")
    return min(complete, key=lambda result: (result.score, result.trial))
