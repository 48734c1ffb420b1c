"""The search for the best settings of each variant, by Optuna (the extra `study`), in one SQLite file.

Several processes may use the file. The results of finished trials are stored outside, too, so that a lost or damaged file is
made again from them.

The sampler is TPE, seeded by the study, the variant and the number of the trial. The pruner stops a trial whose loss is above
the median of the earlier trials of its variant at the same step.

Sources: Akiba et al., "Optuna", arXiv 1907.10902; TPE: Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
NIPS 2011.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.space import Choices, Space
from hypernetworks.training.random import seed_of

__all__ = ["Pruning", "Search", "State", "TrialResult"]

State = Literal["complete", "pruned", "diverged"]
"""How a trial ended. A diverged one had a loss that is not finite."""

_BELONGS = "belongs to"


@dataclass(frozen=True)
class Pruning:
    """When a trial is stopped early.

    Raises:
        UsageError: a number is negative.
    """

    after_trials: int = 3
    """Never before this number of trials of the variant have finished."""
    after_steps: int = 0
    """Never before this step of a trial."""

    def __post_init__(self) -> None:
        if min(self.after_trials, self.after_steps) < 0:
            raise UsageError(f"pruning should start after 0 or more trials and steps, got {self}")


@dataclass(frozen=True)
class TrialResult:
    """A finished trial."""

    number: int
    state: State
    values: Mapping[str, Any]
    """The searched settings by their paths."""
    losses: Sequence[tuple[int, float]]
    """Steps and validation losses."""


class Search:
    """The trials of one variant.

    Args:
        path: the SQLite file, made if it is missing.
        variant: the name of the variant.
        space: what is searched.
        pruning: when trials are stopped.
        seed: of the sampler.
        plan: a checksum of the study that the file belongs to.

    Raises:
        UsageError: Optuna is not installed, or the file is damaged or that of another study.
        FaultError: the file cannot be used.
    """

    def __init__(self, path: Path, variant: str, space: Space, pruning: Pruning, seed: int, plan: str) -> None:
        self.path: Path = path
        self.variant: str = variant
        self.seed: int = seed
        self._optuna = optuna = _import_optuna()
        _check_file(path)
        with self._errors():
            self._storage = optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            pruner = optuna.pruners.MedianPruner(pruning.after_trials, pruning.after_steps, n_min_trials=2)
            self._study = optuna.create_study(
                storage=self._storage, study_name=variant, pruner=pruner, load_if_exists=True
            )
            if self._study.user_attrs.setdefault(_BELONGS, plan) != plan:
                raise UsageError(
                    f"{path}: is the storage of another study: put back this study's own, or remove it (finished trials are "
                    "read from the results)"
                )
            self._study.set_user_attr(_BELONGS, plan)
        self._distributions = {
            name: optuna.distributions.CategoricalDistribution(values.choices)
            if isinstance(values, Choices)
            else optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
            for name, values in space.items()
        }

    def close(self) -> None:
        """Close the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def restore(self, results: Sequence[TrialResult]) -> None:
        """Enter the results that the file lacks: all of a lost file, or that of a process killed before it entered its own."""
        states = self._optuna.trial.TrialState
        with self._errors():
            known = self._study.get_trials(deepcopy=False)
            for result in sorted(results, key=lambda result: result.number):
                if result.number < len(known):
                    if not known[result.number].state.is_finished():
                        self.report(result.number, result.losses)
                        self.finish(result)
                    continue
                while len(known) < result.number:  # of unfinished trials nothing is left: they are begun again
                    self._study.add_trial(self._optuna.trial.create_trial(state=states.FAIL))
                    known = self._study.get_trials(deepcopy=False)
                self._study.add_trial(
                    self._optuna.trial.create_trial(
                        state=states.COMPLETE if result.state == "complete" else states.PRUNED,
                        params=dict(result.values),
                        distributions=self._distributions,
                        value=min((loss for _, loss in result.losses), default=None),
                        intermediate_values=dict(result.losses),
                    )
                )
                known = self._study.get_trials(deepcopy=False)

    def asked(self) -> int:
        """How many trials were begun."""
        return len(self._counted())

    def unfinished(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and values of the trials that were begun and have no result."""
        return [(trial.number, dict(trial.params)) for trial in self._counted() if not trial.state.is_finished()]

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Begin a trial: its number and values. The caller must hold the study's lock."""
        with self._errors():
            seed = seed_of(self.seed, self.variant, len(self._study.get_trials(deepcopy=False))) % 2**32
            startup = max(1, min(10, 2 * len(self._distributions)))
            self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed)
            trial = self._study.ask(fixed_distributions=self._distributions)
            return trial.number, dict(trial.params)

    def report(self, number: int, losses: Sequence[tuple[int, float]]) -> bool:
        """Report validation losses of a trial by step; whether it should be pruned."""
        with self._errors():
            frozen = self._study.get_trials(deepcopy=False)[number]
            trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
            for step, loss in losses:
                if step not in frozen.intermediate_values:
                    trial.report(loss, step)
            return bool(losses) and trial.should_prune()

    def finish(self, result: TrialResult) -> None:
        """Enter the result of a trial."""
        states = self._optuna.trial.TrialState
        with self._errors():
            if result.state == "complete":
                self._study.tell(result.number, min(loss for _, loss in result.losses), skip_if_finished=True)
            else:
                self._study.tell(result.number, state=states.PRUNED, skip_if_finished=True)

    def _counted(self) -> list[Any]:
        with self._errors():
            trials = self._study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state != self._optuna.trial.TrialState.FAIL]

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Damage and faults of the file as errors that name it."""
        try:
            yield
        except self._optuna.exceptions.OptunaError as error:
            raise FaultError(f"{self.path}: {_one_line(error)}") from error
        except _sqlalchemy_errors() as error:
            raise FaultError(f"{self.path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _sqlalchemy_errors() -> type[Exception]:
    from sqlalchemy.exc import SQLAlchemyError

    return SQLAlchemyError


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UsageError("a study needs Optuna: pip install 'hypernetworks[study]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _check_file(path: Path) -> None:
    """UsageError if the file exists and is not a sound SQLite file."""
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60)
        try:
            (found,) = connection.execute("pragma quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise UsageError(
            f"{path}: damaged ({' '.join(found.split())[:100]}): remove it and give --resume (finished trials are read from "
            "the results)"
        )
