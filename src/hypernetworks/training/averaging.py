"""Averages of the weights over steps, which are validated and kept in place of the last weights.

    ema:        a_n = β_n a_{n-1} + (1 − β_n) w_n,   β_n = min(average_decay, (1 + n)/(10 + n))
    triggered:  a_n = mean of w_m over m = s … n,   s the step after the trigger

The decay of the moving average rises from near 0, so that the initial weights are soon forgotten. The trigger is that of
AWD-LSTM: a validation loss no lower than the lowest of those more than average_patience validations before. Until it, the last
weights are validated.

Sources: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992; the non-monotonic trigger: Merity
et al., arXiv 1708.02182, section 4; the rise of the decay: TensorFlow's ExponentialMovingAverage.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.training.schedule import Schedule

__all__ = ["Averaging"]


class Averaging:
    """Keeps the average of a model's parameters. Buffers, such as the statistics of BatchNorm, are not averaged.

    Args:
        model: the model that is trained.
        schedule: which average.
    """

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self._kind, self._decay, self._patience = schedule.average, schedule.average_decay, schedule.average_patience
        self._parameters = dict(model.named_parameters())
        self._average: dict[str, Tensor] = {}
        self._steps = 0  # since the average began
        self._losses: list[float] = []  # of the validations before the trigger
        self._triggered = False

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step into the average."""
        if self._kind == "none" or (self._kind == "triggered" and not self._triggered):
            return
        self._steps += 1
        n = self._steps
        if not self._average:
            self._average = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}
            return
        # a_n = a_{n-1} + (1 − β_n)(w_n − a_{n-1}); a mean has β_n = 1 − 1/n
        new = 1 / n if self._kind == "triggered" else 1 - min(self._decay, (1 + n) / (10 + n))
        for name, average in self._average.items():
            average.lerp_(self._parameters[name], new)

    def validated(self, loss: float) -> None:
        """Take note of a validation loss, which may be the trigger."""
        if self._kind != "triggered" or self._triggered:
            return
        before = self._losses[: -self._patience]
        self._triggered = bool(before) and loss >= min(before)
        self._losses.append(loss)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """While the context is open, the model has the averaged weights, if there are any."""
        own = {name: self._parameters[name].clone() for name in self._average}
        for name, tensor in self._average.items():
            self._parameters[name].copy_(tensor)
        try:
            yield
        finally:
            for name, tensor in own.items():
                self._parameters[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """What a commit holds."""
        return {
            "average": self._average,
            "steps": self._steps,
            "losses": self._losses,
            "triggered": self._triggered,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        self._average = {
            name: tensor.to(self._parameters[name].device, copy=True) for name, tensor in state["average"].items()
        }
        self._steps, self._losses = state["steps"], list(state["losses"])
        self._triggered = state["triggered"]
