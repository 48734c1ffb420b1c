"""The training loop, on a task small enough to be done again by hand."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.recurrent import HyperLSTM
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.runs.run import Run
from hypernetworks.training.loop import Task, Trainer
from hypernetworks.training.schedule import Schedule

SCHEDULE = Schedule(steps=6, learning_rate=0.1, warmup=2, evaluate_every=2, log_every=3)


class Linear(Task[nn.Linear]):
    """A linear map to learn; each step has its own data, drawn at random where `noise` is on."""

    unit = "rows"

    def __init__(self, noise: float = 0.0) -> None:
        torch.manual_seed(0)
        self.model = self.network = nn.Linear(3, 2)
        self.parts = [slice(0, 4)]
        self.noise = noise
        self.steps: list[int] = []
        self.scores = iter([5.0, 3.0, 4.0, 3.0, 2.0, 6.0])
        self.carried = 0

    def loss(self, step: int, part: slice) -> tuple[Tensor, int]:
        self.steps.append(step)
        self.carried += step
        x = torch.arange(12.0).view(4, 3).sin() * (step + 1)
        return (self.model(x) + self.noise * torch.randn(4, 2) - x[:, :2]).square().mean(), 4

    def validate(self) -> Mapping[str, float]:
        return {"validation_loss": next(self.scores), "other": 1.0}

    def fields(self, loss: float) -> Mapping[str, str]:
        return {"loss": f"{loss:.3f}"}

    def state(self) -> dict[str, Any]:
        return {"carried": self.carried}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.carried = state["carried"]


def trainer(folder: Path, task: Task[Any] | None = None, **changes: Any) -> Trainer:
    return Trainer(task or Linear(), replace(SCHEDULE, **changes), Run.create(folder, {}))


@given(
    st.integers(0, 49),
    st.integers(50, 90),
    st.floats(1e-9, 10),
    st.floats(0, 1),
)
def test_the_rate_rises_to_its_highest_and_falls_to_its_share(
    warmup: int, steps: int, rate: float, final: float
) -> None:
    schedule = Schedule(steps=steps, learning_rate=rate, warmup=warmup, final_fraction=final)
    rates = [schedule.rate(step) for step in range(1, steps + 1)]
    if warmup:
        assert rates[0] == pytest.approx(rate / warmup)
        assert rates[warmup - 1] == pytest.approx(rate)
        assert rates[warmup // 2] == pytest.approx(rate * (warmup // 2 + 1) / warmup)
    assert rates[-1] == pytest.approx(rate * final)
    assert all(a >= b for a, b in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
    assert max(rates) <= rate * (1 + 1e-12)
    if (steps - warmup) % 2 == 0:  # half-way, the mean of both ends
        assert rates[(steps + warmup) // 2 - 1] == pytest.approx(rate * (1 + final) / 2)


def test_a_trapezoid_rises_stays_and_falls_in_a_line() -> None:
    schedule = Schedule(
        steps=100, learning_rate=2, warmup=10, decay="trapezoid", decay_fraction=0.3, final_fraction=0.25
    )
    rates = [schedule.rate(step) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert rates[10:70] == [2] * 60
    assert rates[70:] == pytest.approx([2 - 1.5 * n / 30 for n in range(1, 31)])
    assert Schedule(steps=5, warmup=0, decay="trapezoid", decay_fraction=0).rate(4) == 3e-3


def test_more_steps_leave_the_rates_of_those_taken() -> None:
    first = Schedule(steps=40, learning_rate=2, warmup=10, final_fraction=0.25)
    longer = first.extended(60).extended(90)
    assert (longer.steps, longer.extended_at) == (90, (40, 60))
    parts = ((1, 40, first), (41, 60, replace(first, steps=60)), (61, 90, replace(first, steps=90)))
    for begin, end, schedule in parts:
        for step in range(begin, end + 1):
            assert longer.rate(step) == schedule.rate(step)
    assert [step for step in range(1, 91) if longer.ends_at(step)] == [40, 60, 90]
    with pytest.raises(UsageError, match="steps should be more than the 40 that the run has taken, got 40"):
        first.extended(40)


def test_beta2_is_that_of_the_optimiser(tmp_path: Path) -> None:
    assert trainer(tmp_path / "run", beta2=0.95).optimizer.param_groups[0]["betas"] == (0.9, 0.95)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta2": 1.0}, r"beta2 should be in \[0, 1\), got 1.0"),
        ({"average": "swa"}, "average should be none or ema or triggered, got 'swa'"),
        ({"average_patience": 0}, "average_patience should be at least 1, got 0"),
        ({"decay_fraction": 1.5}, r"decay_fraction should be in \[0, 1\], got 1.5"),
        ({"patience": -1}, "patience should be at least 0, got -1"),
        ({"steps": 300, "extended_at": (300,)}, "steps should be above 300, where the run had ended, got 300"),
        ({"extended_at": (30, 20)}, "extended_at should be steps that increase, got 30 20"),
        ({"decay": "trapezoid", "decay_steps": (3,)}, "decay trapezoid takes no decay_steps"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule(**changes)


def test_a_warmup_longer_than_the_training_only_rises() -> None:
    schedule = Schedule(steps=3, learning_rate=0.8, warmup=8)
    assert [schedule.rate(step) for step in (1, 2, 3)] == pytest.approx([0.1, 0.2, 0.3])


def test_steps_are_those_of_adamw_by_hand(tmp_path: Path) -> None:
    """m and v with their corrections, decay of the weight alone, gradients cut to a length of 0.5 together."""
    made = trainer(tmp_path / "run", weight_decay=0.2, clip=0.5)
    weight, bias = (parameter.detach().clone().double() for parameter in made.task.model.parameters())
    made.train("by hand")
    m = v = torch.zeros(8, dtype=torch.float64)
    for n in range(1, 7):
        x = torch.arange(12.0).view(4, 3).sin().double() * n
        error = 2 * (x @ weight.T + bias - x[:, :2]) / 8
        gradient = torch.cat([(error.T @ x).flatten(), error.sum(0)])
        assert gradient.norm() > 0.5
        gradient *= 0.5 / gradient.norm()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 0.1 * n / 2 if n <= 2 else 0.1 * (0.1 + 0.9 * (1 + math.cos(math.pi * (n - 2) / 4)) / 2)
        change = rate * (m / (1 - 0.9**n)) / ((v / (1 - 0.999**n)).sqrt() + 1e-8)
        weight = weight * (1 - 0.2 * rate) - change[:6].view(2, 3)
        bias = bias - change[6:]
    found = made.task.model
    torch.testing.assert_close(found.weight.double(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bias.double(), bias, rtol=1e-4, atol=1e-5)


def test_matrices_of_weights_decay_and_nothing_else(tmp_path: Path) -> None:
    task = Linear()
    task.model = nn.ModuleDict({"rnn": HyperLSTM(3, 4, hyper_size=5), "norm": nn.LayerNorm(4), "head": nn.Linear(4, 2)})  # type: ignore[assignment]
    names = {parameter: name for name, parameter in task.model.named_parameters()}
    groups = trainer(tmp_path / "run", task, weight_decay=0.3).optimizer.param_groups
    by_decay = {group["weight_decay"]: {names[parameter] for parameter in group["params"]} for group in groups}
    main, hyper = "rnn.cells.0.main", "rnn.cells.0.hyper.lstm"
    matrices = {f"{cell}.weight_{of}" for cell in (main, hyper) for of in "xh"} | {"head.weight"}
    assert by_decay == {0.3: matrices, 0.0: set(names.values()) - matrices}
    assert {f"rnn.cells.0.hyper.{name}" for name in "PpD"} < by_decay[0.0]


def test_the_lowest_validation_is_the_best_and_the_first_of_equals(tmp_path: Path) -> None:
    """5, 3, 4, 3, 2, 6 at each step in turn."""
    for steps, best in ((1, 1), (2, 2), (4, 2), (6, 5)):
        made = trainer(tmp_path / f"run{steps}", steps=steps, warmup=0, evaluate_every=1)
        weights = []
        validate = made.task.validate
        made.task.validate = lambda: weights.append(made.task.model.weight.clone()) or validate()  # type: ignore[method-assign]  # noqa: B023
        made.train("best")
        tensors, metadata = made.run.best_model()
        assert metadata["step"] == str(best)
        assert torch.equal(tensors["weight"], weights[best - 1])


def test_metrics_are_means_since_the_last_line_and_validations(tmp_path: Path) -> None:
    made, losses = trainer(tmp_path / "run", steps=5), []
    take = made.take_step

    def noting() -> tuple[float, int]:
        value, read = take()
        losses.append(value)
        return value, read

    made.take_step = noting  # type: ignore[method-assign]
    made.train("metrics")
    rows = made.run.metrics()
    assert [list(row) for row in rows if "other" in row] == [["step", "validation_loss", "other"]] * 3
    assert [(row["step"], "loss" in row) for row in rows] == [(2, False), (3, True), (4, False), (5, True), (5, False)]
    logged = [row for row in rows if "loss" in row]
    assert [row["loss"] for row in logged] == pytest.approx([sum(losses[:3]) / 3, sum(losses[3:]) / 2])
    assert all(row["gradient_norm"] > 0 for row in logged)
    assert [row["learning_rate"] for row in logged] == [made.schedule.rate(3), made.schedule.rate(5)]
    assert all(row["rows_per_second"] > 0 for row in logged)
    assert made.task.steps == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("stop", [1, 2, 3, 5])
def test_resumed_equals_uninterrupted_randomness_included(stop: int, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", Linear(noise=1.0))
    whole.train("whole")
    first = trainer(tmp_path / "run", Linear(noise=1.0))
    loss = first.task.loss

    def failing(step: int, part: slice) -> tuple[Tensor, int]:
        if step == stop:
            raise RuntimeError("power cut")
        return loss(step, part)

    first.task.loss = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        first.train("first")
    task, run = Linear(noise=1.0), Run.open(tmp_path / "run")
    second = Trainer(task, SCHEDULE, run, run.restore())
    assert second.step == stop // 2 * 2
    for _ in range(second.step // 2):
        next(task.scores)
    second.train("second")
    assert task.steps == list(range(second.step - len(task.steps), 6))
    assert task.carried == 15
    torch.testing.assert_close(task.model.state_dict(), whole.task.model.state_dict(), rtol=0, atol=0)
    kept = [{k: row[k] for k in ("step", "loss", "validation_loss") if k in row} for row in run.metrics()]
    assert kept == [{k: row[k] for k in ("step", "loss", "validation_loss") if k in row} for row in whole.run.metrics()]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("loss", "the loss is inf at step 4: training stopped, the checkpoint of step 2 is kept"),
        ("gradient", "the gradient norm is nan at step 4: training stopped, the checkpoint of step 2 is kept"),
        ("validation", "the validation loss is nan at step 4: training stopped, the checkpoint of step 2 is kept"),
    ],
)
def test_what_is_no_finite_number_stops_the_training(where: str, message: str, tmp_path: Path) -> None:
    made = trainer(tmp_path / "run")
    task, loss = made.task, made.task.loss

    def poisoned(step: int, part: slice) -> tuple[Tensor, int]:
        value, read = loss(step, part)
        if step == 3 and where == "loss":
            value = value * math.inf
        if step == 3 and where == "gradient":
            value = value + (task.model.weight.sum() * 0).sqrt()  # 0, its slope infinite times 0
        return value, read

    task.loss = poisoned  # type: ignore[method-assign]
    task.scores = iter([5.0, math.nan if where == "validation" else 4.0])
    with pytest.raises(FaultError, match=message):
        made.train("poisoned")
    state = load_trainer(tmp_path / "run" / "trainer.pt", [])
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path / "run").train("run")
    run = Run.open(tmp_path / "run")
    restored = run.restore()
    assert restored is not None
    other = Linear()
    other.model = nn.Linear(3, 4)
    for task, state in (
        (other, restored),
        (Linear(), {**restored, "optimizer": {}}),
        (Linear(), {**restored, "task": {}}),
    ):
        with pytest.raises(UsageError, match=r"run: trainer\.pt does not fit this model or version: [^\n]+$"):
            Trainer(task, SCHEDULE, run, state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0, "warmup": 0}, "steps should be at least 1, got 0"),
        ({"evaluate_every": 0}, "evaluate_every should be at least 1, got 0"),
        ({"log_every": -1}, "log_every should be at least 1, got -1"),
        ({"learning_rate": 0.0}, "learning_rate should be a finite number above 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate should be a finite number above 0, got nan"),
        ({"clip": math.inf}, "clip should be a finite number of at least 0, got inf"),
        ({"weight_decay": -0.1}, "weight_decay should be a finite number of at least 0, got -0.1"),
        ({"final_fraction": 1.5}, r"final_fraction should be in \[0, 1\], got 1.5"),
        ({"warmup": -1}, "warmup should be at least 0, got -1"),
        ({"seed": -1}, r"seed should be in \[0, 2\^63\), got -1"),
    ],
)
def test_impossible_settings_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SCHEDULE, **changes)


def test_the_rate_falls_in_steps() -> None:
    schedule = Schedule(
        steps=10,
        learning_rate=1.0,
        warmup=2,
        decay="steps",
        final_fraction=1,
        decay_steps=(4, 7),
        decay_rates=(0.5, 0.1),
    )
    assert [schedule.rate(step) for step in range(1, 11)] == [0.5, 1, 1, 1, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1]


def test_steps_of_sgd_are_nesterovs_by_hand(tmp_path: Path) -> None:
    """g of loss and decay (of the weight alone), v = μ v + g, a step along g + μ v; nothing is clipped."""
    made = trainer(tmp_path / "run", optimizer="sgd", weight_decay=0.2, clip=0.0, learning_rate=0.02)
    weight, bias = (parameter.detach().clone().double() for parameter in made.task.model.parameters())
    made.train("by hand")
    v = torch.zeros(8, dtype=torch.float64)
    for n in range(1, 7):
        x = torch.arange(12.0).view(4, 3).sin().double() * n
        error = 2 * (x @ weight.T + bias - x[:, :2]) / 8
        g = torch.cat([(error.T @ x + 0.2 * weight).flatten(), error.sum(0)])
        v = 0.9 * v + g
        change = made.schedule.rate(n) * (g + 0.9 * v)
        weight, bias = weight - change[:6].view(2, 3), bias - change[6:]
    torch.testing.assert_close(made.task.model.weight.double(), weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(made.task.model.bias.double(), bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "rmsprop"}, "optimizer should be adam or sgd, got 'rmsprop'"),
        ({"decay": "linear"}, "decay should be cosine or trapezoid or steps, got 'linear'"),
        ({"decay_steps": (5,)}, "decay cosine takes no decay_steps and decay_rates, got 5, none"),
        ({"decay": "steps"}, "decay steps requires final_fraction 1 .*, got 0.1"),
        (
            {"decay": "steps", "final_fraction": 1},
            "decay_steps and decay_rates of equal length, at least one, got none, none",
        ),
        (
            {"decay": "steps", "final_fraction": 1, "decay_steps": (500, 400), "decay_rates": (1, 1)},
            "decay_steps should increase and be greater than warmup 100, got 500 400",
        ),
        (
            {"decay": "steps", "final_fraction": 1, "decay_steps": (100,), "decay_rates": (1,)},
            "decay_steps should increase and be greater than warmup 100, got 100",
        ),
        (
            {"decay": "steps", "final_fraction": 1, "decay_steps": (500,), "decay_rates": (0,)},
            "decay_rates should be finite numbers above 0, got 0",
        ),
    ],
)
def test_contradictory_decays_fail_when_made(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Schedule(**changes)
