"""Averages of the weights: against sums written out, and a validation that sees them and leaves the weights as they were."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hypernetworks.runs.run import Run
from hypernetworks.training.averaging import Averaging
from hypernetworks.training.loop import Trainer
from hypernetworks.training.schedule import Schedule

from .test_loop import Linear, trainer


def walked(schedule: Schedule, losses: list[float]) -> tuple[Averaging, nn.Linear, list[torch.Tensor]]:
    """A model that moves at random for one step between two validations, and its weights after each step."""
    torch.manual_seed(1)
    model = nn.Linear(3, 2)
    averaging, weights = Averaging(model, schedule), []
    for loss in losses:
        model.weight.data += torch.randn(2, 3)
        averaging.update()
        weights.append(model.weight.detach().clone())
        averaging.validated(loss)
    return averaging, model, weights


def test_the_moving_average_is_the_weighted_sum_of_all_weights() -> None:
    averaging, model, weights = walked(Schedule(average="ema", average_decay=0.6), [1.0] * 30)
    share = torch.zeros(30, dtype=torch.float64)
    share[0] = 1
    for n in range(2, 31):
        decay = min(0.6, (1 + n) / (10 + n))
        share *= decay
        share[n - 1] = 1 - decay
    assert share.sum() == pytest.approx(1)
    expected = sum(a * w.double() for a, w in zip(share, weights, strict=True))
    with averaging.applied():
        torch.testing.assert_close(model.weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(model.weight, weights[-1])


def test_the_mean_begins_when_the_validation_stops_falling() -> None:
    """With patience 2, the 2.5 of the sixth validation is the first that is no lower than one of those before the last two."""
    losses = [5, 3, 2.5, 2.6, 2.4, 2.5, 9, 9]
    averaging, model, weights = walked(Schedule(average="triggered", average_patience=2), losses)
    with averaging.applied():
        torch.testing.assert_close(model.weight, torch.stack(weights[6:]).mean(0))
    before, model, weights = walked(Schedule(average="triggered", average_patience=2), losses[:5])
    with before.applied():
        assert torch.equal(model.weight, weights[-1])


@pytest.mark.parametrize("average", ["ema", "triggered"])
def test_a_resumed_run_keeps_its_average(average: str, tmp_path: Path) -> None:
    changes = {"average": average, "average_decay": 0.7, "average_patience": 1, "evaluate_every": 1}
    trainer(tmp_path / "whole", Linear(noise=1.0), **changes).train("whole")
    whole = Run.open(tmp_path / "whole").restore() or {}
    stopped = trainer(tmp_path / "run", Linear(noise=1.0), **changes)
    loss = stopped.task.loss

    def failing(step: int, part: slice) -> tuple[torch.Tensor, int]:
        if step == 4:
            raise RuntimeError("power cut")
        return loss(step, part)

    stopped.task.loss = failing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        stopped.train("run")
    task, run = Linear(noise=1.0), Run.open(tmp_path / "run")
    again = Trainer(task, stopped.schedule, run, run.restore())
    for _ in range(4):
        next(task.scores)
    again.train("again")
    resumed = Run.open(tmp_path / "run").restore() or {}
    for name in ("model", "best", "average", "norms"):
        torch.testing.assert_close(resumed[name], whole[name], rtol=0, atol=0)
    assert resumed["average"]["average"]


def test_the_best_model_is_the_average_that_was_validated(tmp_path: Path) -> None:
    made = trainer(tmp_path / "run", steps=5, average="ema", average_decay=0.9, evaluate_every=1)
    seen = []
    validate = made.task.validate
    made.task.validate = lambda: seen.append(made.task.model.weight.detach().clone()) or validate()  # type: ignore[method-assign]
    made.train("run")
    kept, metadata = made.run.best_model()
    assert metadata["step"] == "5"
    assert torch.equal(kept["weight"], seen[4])
    assert not torch.equal(kept["weight"], made.task.model.weight)
    restored = Run.open(tmp_path / "run").restore() or {}
    assert torch.equal(restored["best"]["model"]["weight"], seen[4])
