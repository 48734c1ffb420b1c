"""The training loop that all experiments share: steps of a schedule, clipping, validation, the best kept, exact resume.

Everything the loop carries from step to step is committed with the weights: optimiser, best model, random states, what the
experiment itself carries, and the running mean of the loss. A run that goes on from a commit makes the same numbers.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from hypernetworks.training.errors import FaultError, UsageError
from hypernetworks.training.interrupt import Interrupt
from hypernetworks.training.progress import Progress
from hypernetworks.training.run import Run
from hypernetworks.training.schedule import Schedule, make_optimizer

Model = TypeVar("Model", bound=nn.Module)


class Task(ABC, Generic[Model]):
    """What an experiment gives to the loop."""

    model: Model
    unit: str
    """What the speed counts, e.g. characters."""

    @abstractmethod
    def loss(self, step: int) -> tuple[Tensor, int]:
        """The loss of step number `step` (from 0), and how many units it read."""

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """The validation's figures; "validation_loss" among them is what the best model has least of."""

    @abstractmethod
    def fields(self, loss: float) -> Mapping[str, str]:
        """What the progress line shows of a loss."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the experiment carries from step to step, as plain data and tensors."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what state() gave."""


class Trainer:
    """A training on its way: the task, its optimiser, its run.

    Args:
        task: the experiment.
        schedule: how to train it.
        run: where to write; made new, or just opened.
        restored: what `run.restore()` gave, to go on from there.
    """

    def __init__(
        self, task: Task[Any], schedule: Schedule, run: Run, restored: Mapping[str, Any] | None = None
    ) -> None:
        self.task, self.schedule, self.run = task, schedule, run
        self.optimizer = make_optimizer(task.model, schedule)
        self.step = 0
        self.best: dict[str, Any] | None = None
        self._losses: list[float] = []  # since the last line of metrics
        self._committed = 0
        if restored is not None:
            self._restore(restored)

    def train(self, label: str) -> None:
        """Train to the last step; the best model is in the run then.

        Raises:
            FaultError: a loss, gradient or validation is no finite number, or the system refused to write; the last
                commit stands.
            KeyboardInterrupt: Ctrl-C, or SIGTERM (Terminated), after the step was finished and committed.
        """
        schedule, units = self.schedule, 0
        logged, seconds = 0, 0.0  # units at the last line of metrics, and the time of the steps since
        self.task.model.train()
        bar = Progress(schedule.steps, label=label, unit=self.task.unit, start=self.step)
        with Interrupt() as interrupt, bar:
            while self.step < schedule.steps:
                began = time.monotonic()
                loss, read = self._take_step()
                units, seconds = units + read, seconds + time.monotonic() - began
                bar.update(self.step, units=units, fields=self.task.fields(loss))
                last = self.step == schedule.steps
                if self.step % schedule.log_every == 0 or last:
                    self._log(units - logged, seconds)
                    logged, seconds = units, 0.0
                if self.step % schedule.evaluate_every == 0 or last:
                    self._validate()
                    self._commit()
                if interrupt.asked:
                    if self._committed != self.step:
                        self._commit()
                    raise interrupt.asked

    def _take_step(self) -> tuple[float, int]:
        self.optimizer.zero_grad(set_to_none=True)
        try:
            loss, read = self.task.loss(self.step)
            value = loss.item()
            self._check_finite("loss", value, self.step + 1)
            loss.backward()
        except RuntimeError as error:
            if "allocate" not in str(error):  # what torch says on every device where memory has run out
                raise
            reason = "no memory left: a smaller batch_size, length or hidden_size may help"
            raise FaultError(f"{self.run.folder}: step {self.step + 1}: {reason}") from error
        norm = nn.utils.clip_grad_norm_(self.task.model.parameters(), self.schedule.clip or math.inf).item()
        self._check_finite("length of the gradient", norm, self.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step + 1)
        self.optimizer.step()
        self.step += 1
        self._losses.append(value)
        return value, read

    def _check_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            kept = f"the checkpoint of step {self._committed} is kept" if self._committed else "nothing was saved yet"
            raise FaultError(
                f"{self.run.folder}: the {what} is {value} at step {step}: training stopped, {kept}; "
                "a lower learning rate or clip may help"
            )

    def _log(self, units: int, seconds: float) -> None:
        """A line about the steps since the last one: their mean loss, their time without validations, their speed."""
        mean = math.fsum(self._losses) / len(self._losses)
        self._losses.clear()
        rate = self.schedule.rate(self.step)
        row = {"step": self.step, "loss": mean, "learning_rate": rate, "seconds": round(seconds, 6)}
        self.run.record(row | {f"{self.task.unit}_per_second": round(units / seconds)})

    def _validate(self) -> None:
        figures = self.task.validate()
        score = figures["validation_loss"]
        self._check_finite("validation loss", score, self.step)
        self.run.record({"step": self.step, **figures})
        if self.best is None or score < self.best["score"]:
            weights = {name: tensor.detach().clone() for name, tensor in self.task.model.state_dict().items()}
            self.best = {"step": self.step, "score": score, "model": weights}

    def _commit(self) -> None:
        self.run.commit(
            {
                "step": self.step,
                "model": self.task.model.state_dict(),
                "best": self.best,
                "optimizer": self.optimizer.state_dict(),
                "random": _random_state(),
                "task": self.task.state(),
                "losses": self._losses,
            }
        )
        self._committed = self.step

    def _restore(self, restored: Mapping[str, Any]) -> None:
        try:
            self.task.model.load_state_dict(restored["model"])
            self.optimizer.load_state_dict(restored["optimizer"])
            self.task.load_state(restored["task"])
            _set_random_state(restored["random"])
            self._losses = list(restored["losses"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(f"{self.run.folder}: trainer.pt is not of this model and version: {reason}") from error
        self.step = self._committed = restored["step"]
        self.best = restored["best"]


def load_best(model: Model, run: Run) -> Model:
    """The model with the weights of a run's best, in evaluation mode; UsageError where they are another model's."""
    tensors, _ = run.best_model()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(f"{run.folder}: model.safetensors is not of the model that config.json describes") from error
    return model.eval()


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
