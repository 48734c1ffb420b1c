"""The optimiser, and the learning rate of each step.

    rate(n) = learning_rate · n/warmup                                                  for step n = 1 … warmup
    cosine:   learning_rate · (φ + (1 − φ)(1 + cos(π (n − warmup)/(steps − warmup)))/2)         after that; φ is final_fraction
    trapezoid: learning_rate, and in the last decay_fraction of all steps linearly down to φ · learning_rate
    steps:    learning_rate until step decay_steps[0], then decay_rates[0] until decay_steps[1], …

The trapezoid is also called warmup-stable-decay: Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed
Training Durations", arXiv 2405.18392.

A run that has ended may be given more steps. The rates of the steps that it has taken stay those of the schedule that ended
there; the rates of the others are those of a schedule with the new number of steps.

adam is AdamW, with decoupled weight decay. sgd has Nesterov momentum μ:
g ← g + weight_decay · w,  v ← μ v + g,  w ← w − rate · (g + μ v).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self, get_args

import torch
from torch import nn
from tyro.conf import Suppress

from hypernetworks.errors import UsageError, check_count

Optimizer = Literal["adam", "sgd"]
Decay = Literal["cosine", "trapezoid", "steps"]
Average = Literal["none", "ema", "triggered"]
Precision = Literal["float32", "bf16"]

MOMENTUM: Final = 0.9


@dataclass(frozen=True)
class Schedule:
    """How a model is trained.

    Raises:
        UsageError: a setting is invalid, or two settings contradict each other.
    """

    steps: int = 3000
    """Optimiser steps."""
    optimizer: Optimizer = "adam"
    """adam: AdamW. sgd: SGD with Nesterov momentum 0.9."""
    learning_rate: float = 3e-3
    """The highest learning rate of the schedule."""
    beta2: float = 0.999
    """Adam's decay of the mean of squared gradients (adam)."""
    warmup: int = 100
    """Steps in which the learning rate rises linearly from 0. If there are fewer steps in all, it only rises."""
    decay: Decay = "cosine"
    """How the learning rate decays: along a cosine, linearly at the end (trapezoid), or in steps."""
    final_fraction: float = 0.1
    """The fraction of learning_rate at the last step of the cosine or trapezoid; 1: no decay. Must be 1 for decay in steps."""
    decay_fraction: float = 0.2
    """The fraction of all steps in which the trapezoid decays."""
    decay_steps: tuple[int, ...] = ()
    """The steps after which the next of decay_rates applies (decay in steps)."""
    decay_rates: tuple[float, ...] = ()
    """The learning rates after those steps (decay in steps)."""
    weight_decay: float = 0.01
    """Weight decay, of weight matrices and kernels only: not of biases, norms, embeddings z or scales."""
    clip: float = 1.0
    """Clip the norm of the gradient of all parameters to this value; 0: no clipping."""
    average: Average = "none"
    """Which weights are validated and kept: none: the last ones. ema: their exponential moving average. triggered: their mean
    since the validation loss stopped falling. See `training.averaging`."""
    average_decay: float = 0.999
    """The decay of the moving average at each step (ema)."""
    average_patience: int = 5
    """The mean begins at the first validation loss that is no lower than the lowest of those more than N validations before
    (triggered)."""
    accumulate: int = 1
    """Compute a batch, or the share of each process, in N equal parts and add up their gradients: the same step with N times
    less memory. BatchNorm normalises over each part."""
    precision: Precision = "float32"
    """bf16: matrix products and convolutions of the training steps in bfloat16, by autocast. Weights, loss, optimiser and
    validation stay in float32."""
    evaluate_every: int = 500
    """Steps between validations. Each validation saves the run."""
    patience: int = field(default=0, kw_only=True)
    """End the training early, after N validations in a row without a lower loss than the best before them; 0: never."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl."""
    seed: int = 0
    """Seeds all random numbers: initial weights, dropout, the order of examples and their augmentation."""
    extended_at: Suppress[tuple[int, ...]] = field(default=(), kw_only=True)
    """The steps at which the run had ended before it was given more."""

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "evaluate_every", "log_every", "average_patience"):
            check_count(name, getattr(self, name))
        for name, kind in (("optimizer", Optimizer), ("decay", Decay), ("average", Average), ("precision", Precision)):
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} should be {' or '.join(choices)}, got {getattr(self, name)!r}")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate should be a finite number above 0, got {self.learning_rate}")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} should be a finite number of at least 0, got {getattr(self, name)}")
        for name in ("final_fraction", "decay_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} should be in [0, 1], got {getattr(self, name)}")
        for name in ("beta2", "average_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} should be in [0, 1), got {getattr(self, name)}")
        for name in ("warmup", "patience"):
            check_count(name, getattr(self, name), least=0)
        if self.extended_at and self.steps <= self.extended_at[-1]:
            raise UsageError(f"steps should be above {self.extended_at[-1]}, where the run had ended, got {self.steps}")
        if list(self.extended_at) != sorted({end for end in self.extended_at if end > 0}):
            raise UsageError(f"extended_at should be steps that increase, got {_listed(self.extended_at)}")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed should be in [0, 2^63), got {self.seed}")
        self._check_decay()

    def _check_decay(self) -> None:
        at, rates = self.decay_steps, self.decay_rates
        if self.decay != "steps":
            if at or rates:
                raise UsageError(
                    f"decay {self.decay} takes no decay_steps and decay_rates, got {_listed(at)}, {_listed(rates)}"
                )
            return
        if self.final_fraction != 1:
            raise UsageError(
                f"decay steps requires final_fraction 1 (it applies to the other decays), got {self.final_fraction}"
            )
        if not at or len(at) != len(rates):
            raise UsageError(
                "decay steps requires decay_steps and decay_rates of equal length, at least one, "
                f"got {_listed(at)}, {_listed(rates)}"
            )
        if list(at) != sorted({step for step in at if step > self.warmup}):
            raise UsageError(f"decay_steps should increase and be greater than warmup {self.warmup}, got {_listed(at)}")
        if not all(0 < rate < math.inf for rate in rates):
            raise UsageError(f"decay_rates should be finite numbers above 0, got {_listed(rates)}")

    def extended(self, steps: int) -> Self:
        """The schedule of a run that has ended, and is trained to step `steps`.

        Raises:
            UsageError: these are no more steps than before.
        """
        if steps <= self.steps:
            raise UsageError(f"steps should be more than the {self.steps} that the run has taken, got {steps}")
        return replace(self, steps=steps, extended_at=(*self.extended_at, self.steps))

    def warning(self) -> str:
        """What a user should know of these settings before the training; empty if nothing."""
        if self.warmup <= self.steps:
            return ""
        return (
            f"warmup {self.warmup} is longer than the training of {self.steps} steps: the learning rate only rises, to "
            f"{self.rate(self.steps):.2g} instead of {self.learning_rate:.2g}; give fewer --warmup steps"
        )

    def ends_at(self, step: int) -> bool:
        """Whether the training ends after this step, or ended there before it was given more steps."""
        return step == self.steps or step in self.extended_at

    def rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 1."""
        steps = min((end for end in self.extended_at if step <= end), default=self.steps)
        if step <= self.warmup:
            return self.learning_rate * step / self.warmup
        if self.decay == "steps":
            return (self.learning_rate, *self.decay_rates)[sum(step > at for at in self.decay_steps)]
        φ = self.final_fraction
        if self.decay == "trapezoid":
            # decay_fraction · steps before the end it is 1, at the end 0
            left = min(1.0, (steps - step) / max(1.0, self.decay_fraction * steps))
            return self.learning_rate * (φ + (1 - φ) * left)
        done = (step - self.warmup) / (steps - self.warmup)
        return self.learning_rate * (φ + (1 - φ) * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Make the optimiser of a schedule for the parameters of a model. The training loop sets the learning rate at each step."""
    groups = _parameter_groups(model, schedule.weight_decay)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, betas=(0.9, schedule.beta2))


def _listed(values: Iterable[float]) -> str:
    return " ".join(map(str, values)) or "none"


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters of two or more dimensions whose name starts with "weight" decay. Biases, norms, P, p and D do not."""
    decayed, kept = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_weight = name.rpartition(".")[2].startswith("weight") and parameter.dim() > 1
        (decayed if is_weight else kept).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
