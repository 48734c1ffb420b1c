"""The training loop of all experiments: schedule, clipping, validation, the best model, exact resume.

Everything that the loop carries from step to step is committed with the weights: optimiser, best model, random states, the
state of the task, and the losses since the last log line. A run resumed from a commit continues with the same numbers.

Several processes run the loop in parallel, each with its share of every batch. Only the first one writes and prints.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Final, Generic, TypeVar

import torch
from torch import Tensor, nn

from hypernetworks import processes
from hypernetworks.errors import DivergedError, FaultError, Terminated, UsageError
from hypernetworks.runs.run import Run
from hypernetworks.training.averaging import Averaging
from hypernetworks.training.interrupt import Interrupt
from hypernetworks.training.progress import Progress
from hypernetworks.training.random import seed_of
from hypernetworks.training.schedule import Schedule, make_optimizer

Model = TypeVar("Model", bound=nn.Module)

Watch = Callable[[Mapping[str, Any]], None]
"""Reads the rows of the metrics while a run is trained."""

Describe = Callable[[Mapping[str, float]], str]
"""Makes a text of the figures of a validation."""

_STOPS: Final = (None, KeyboardInterrupt, Terminated)
"""What a signal makes a process raise after a step. The processes exchange the index."""


class Task(ABC, Generic[Model]):
    """What an experiment provides to the loop: losses, validations, and its own state."""

    model: Model
    network: nn.Module
    """`distributed(model)`: what `loss` calls."""
    parts: Sequence[slice]
    """The parts of a batch that this process computes, from `processes.parts`."""
    unit: ClassVar[str]
    """What the speed counts, for example characters."""

    @abstractmethod
    def __init__(self, model: Model, config: Any, data: Any) -> None:
        """Make the task of a configuration and its data; UsageError if they do not fit."""

    @abstractmethod
    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        """The mean loss over a part of the batch of step `step` (from 0), and the number of units read."""

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """The figures of a validation, equal in all processes. The best model has the lowest "validation_loss"."""

    def warning(self, loss: float, figures: Mapping[str, float]) -> str:
        """What is wrong with a validation, given the mean loss of the last training steps; empty if nothing is."""
        return ""

    @abstractmethod
    def fields(self, loss: float) -> Mapping[str, str]:
        """What the progress line shows for a loss."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What the task carries from step to step, in all processes, as plain data and tensors."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""


class Trainer:
    """Trains the model of a task and writes its run.

    Args:
        task: what to train.
        schedule: how to train.
        run: where to write.
        restored: what `run.restore()` returned, to resume from there; None: start at step 0.
        watch: called in the first process with each new row of the metrics. What it raises ends the training.
        describe: the figures of a validation as text, for the line that is printed; None: names and values.
    """

    def __init__(
        self,
        task: Task[Any],
        schedule: Schedule,
        run: Run,
        restored: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.task: Task[Any] = task
        self.schedule: Schedule = schedule
        self.run: Run = run
        self.watch: Watch | None = watch
        self.describe: Describe = describe or named_values
        self.optimizer: torch.optim.Optimizer = make_optimizer(task.model, schedule)
        self.averaging: Averaging = Averaging(task.model, schedule)
        self.step: int = 0
        self.best: dict[str, Any] | None = None
        self._since_best = 0  # validations
        self._losses: list[float] = []  # since the last line of the metrics
        self._logged_loss = math.nan  # of that line
        self._warned = False
        self._norms: list[float] = []  # of the gradients, likewise
        self._committed = 0
        if processes.rank():  # all start with the same weights; from here on, dropout differs between processes
            torch.manual_seed(seed_of(schedule.seed, "dropout", processes.rank()))
        if restored is not None:
            self._restore(restored)

    def train(self, label: str) -> None:
        """Train to the last step, or until the schedule's patience has ended. The run then holds the best model.

        Args:
            label: shown with the progress.

        Raises:
            FaultError: a loss, gradient or validation is not finite (DivergedError), memory ran out, or a file could not be
                written. The last commit holds.
            KeyboardInterrupt: Ctrl-C, or SIGTERM (Terminated), raised after the step was finished and committed.
        """
        schedule, units = self.schedule, 0
        logged, seconds = 0, 0.0  # units at the last line of the metrics, and the time of the steps since
        self.task.model.train()
        bar = Progress(schedule.steps, label=label, unit=self.task.unit, start=self.step, shown=processes.is_first())
        with Interrupt() as interrupt, bar:
            while self.step < schedule.steps and not self.stopped_early:
                began = time.monotonic()
                loss, read = self.take_step()
                units, seconds = units + read, seconds + time.monotonic() - began
                bar.update(self.step, units=units, fields=self.task.fields(loss))
                last = schedule.ends_at(self.step)
                if self.step % schedule.log_every == 0 or last:
                    self._log(units - logged, seconds)
                    logged, seconds = units, 0.0
                if self.step % schedule.evaluate_every == 0 or last:
                    for line in self._validate():
                        bar.note(f"{label}  {self.step}/{schedule.steps}  {line}")
                    if self.stopped_early and units > logged:
                        self._log(units - logged, seconds)
                    self._commit()
                if stop := _STOPS[processes.highest(_STOPS.index(interrupt.asked))]:
                    if self._committed != self.step:
                        self._commit()
                    raise stop

    @property
    def stopped_early(self) -> bool:
        """Whether the last validations, as many as the schedule's patience, were no better than the best before."""
        return 0 < self.schedule.patience <= self._since_best

    def take_step(self) -> tuple[float, int]:
        """Take one training step, without logging or saving it: the loss, and the number of units read."""
        self.optimizer.zero_grad(set_to_none=True)
        try:
            value, read = self._add_gradients()
        except RuntimeError as error:
            if "allocate" not in str(error):  # in the message of every device that is out of memory
                raise
            reason = "out of memory: a smaller batch_size, length or hidden_size, or a larger accumulate, may help"
            raise FaultError(f"{self.run.folder}: step {self.step + 1}: {reason}") from error
        self._check_finite("loss", value, self.step + 1)
        norm = nn.utils.clip_grad_norm_(self.task.model.parameters(), self.schedule.clip or math.inf).item()
        self._check_finite("gradient norm", norm, self.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step + 1)
        self.optimizer.step()
        self.averaging.update()
        self.step += 1
        self._losses.append(value)
        self._norms.append(norm)
        return value, read

    def _add_gradients(self) -> tuple[float, int]:
        """Accumulate the gradient of the step over its parts; return loss and units read, over all processes."""
        parts, losses, units = self.task.parts, [], 0
        half = self.schedule.precision == "bf16"
        for part in parts:
            # gradients are averaged over processes once, with the last part
            with processes.without_sync(self.task.network) if part != parts[-1] else nullcontext():
                with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
                    loss, read = self.task.loss(self.step, part)
                (loss / len(parts)).backward()
            losses.append(loss.item())
            units += read
        return processes.mean(math.fsum(losses) / len(losses)), units * processes.count()

    def _check_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            kept = f"the checkpoint of step {self._committed} is kept" if self._committed else "nothing was saved yet"
            raise DivergedError(
                f"{self.run.folder}: the {what} is {value} at step {step}: training stopped, {kept}; "
                "a lower learning rate or clip may help"
            )

    def _log(self, units: int, seconds: float) -> None:
        """Record the steps since the last line: means of loss and gradient norm, time without validation, speed."""
        row = {
            "step": self.step,
            "loss": math.fsum(self._losses) / len(self._losses),
            "gradient_norm": math.fsum(self._norms) / len(self._norms),
            "learning_rate": self.schedule.rate(self.step),
            "seconds": round(seconds, 6),
            f"{self.task.unit}_per_second": round(units / seconds),
        }
        self._logged_loss = row["loss"]
        self._losses.clear()
        self._norms.clear()
        self._record(row)

    def _record(self, row: Mapping[str, Any]) -> None:
        if processes.is_first():
            self.run.record(row)
            if self.watch is not None:
                self.watch(row)

    def _validate(self) -> list[str]:
        """Validate, keep the model if it is the best so far, and return what to print."""
        warning = ""
        for buffer in self.task.model.buffers():  # each process has its own BatchNorm statistics
            processes.take_from_first(buffer)
        with self.averaging.applied():
            figures = self.task.validate()
            score = figures["validation_loss"]
            self._check_finite("validation loss", score, self.step)
            self._since_best += 1
            if self.best is None or score < self.best["score"]:
                weights = {name: tensor.detach().clone() for name, tensor in self.task.model.state_dict().items()}
                self.best = {"step": self.step, "score": score, "model": weights}
                self._since_best = 0
            if not self._warned:
                loss = math.fsum(self._losses) / len(self._losses) if self._losses else self._logged_loss
                warning = self.task.warning(loss, figures)
                self._warned = bool(warning)
        self.averaging.validated(score)
        self._record({"step": self.step, **figures})
        best = f" (best: step {self.best['step']})" if self._since_best else ""
        ended = ""
        if self.stopped_early and self.step < self.schedule.steps:
            ended = f"no lower loss in {self._since_best} validations: the training ends here (--patience)"
        return [f"validation: {self.describe(figures)}{best}", *filter(None, (warning, ended))]

    def _commit(self) -> None:
        state = {
            "step": self.step,
            "model": self.task.model.state_dict(),
            "best": self.best,
            "since_best": self._since_best,
            "optimizer": self.optimizer.state_dict(),
            "random": _random_states(self._device),
            "task": self.task.state(),
            "losses": self._losses,
            "norms": self._norms,
            "average": self.averaging.state(),
        }
        if processes.is_first():
            self.run.commit(state)
        self._committed = self.step

    def _restore(self, restored: Mapping[str, Any]) -> None:
        try:
            self.task.model.load_state_dict(restored["model"])
            self.optimizer.load_state_dict(restored["optimizer"])
            self.task.load_state(restored["task"])
            states = restored["random"]
            self._check_processes(len(states["cpu"]))
            _set_random_state(self._device, states)
            self._losses = list(restored["losses"])
            self._norms = list(restored.get("norms", ()))  # of an earlier version: none
            if "average" in restored:
                self.averaging.load_state(restored["average"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(f"{self.run.folder}: trainer.pt does not fit this model or version: {reason}") from error
        self.step = restored["step"]
        self._committed = self.step
        self.best = restored["best"]
        self._since_best = restored.get("since_best", 0)  # earlier versions had no patience

    def _check_processes(self, before: int) -> None:
        """Each process has its own random numbers, so a different number of processes would give different results."""
        if before != processes.count():
            raise UsageError(
                f"{self.run.folder}: was trained by {_processes(before)}, so it is resumed with {_processes(before)}, "
                f"got {_processes(processes.count())}"
            )

    @property
    def _device(self) -> torch.device:
        return next(self.task.model.parameters()).device


def named_values(figures: Mapping[str, float]) -> str:
    """Figures by their names, for example "validation_loss 1.3863"."""
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def load_best(model: Model, run: Run) -> Model:
    """Load the best weights of a run into a model and set it to evaluation mode.

    Raises:
        UsageError: the weights do not fit the model, or the run has none.
    """
    tensors, _ = run.best_model()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UsageError(
            f"{run.folder}: model.safetensors does not fit the model that config.json describes"
        ) from error
    return model.eval()


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _random_states(device: torch.device) -> dict[str, list[Tensor]]:
    """The random states of all processes, in order of rank."""
    cuda = processes.gathered(torch.cuda.get_rng_state(device)) if device.type == "cuda" else []
    return {"cpu": processes.gathered(torch.get_rng_state()), "cuda": cuda}


def _set_random_state(device: torch.device, states: Mapping[str, Sequence[Tensor]]) -> None:
    torch.set_rng_state(states["cpu"][processes.rank()])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"][processes.rank()], device)
