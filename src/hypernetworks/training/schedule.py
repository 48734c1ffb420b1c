"""How a model is trained: the optimiser, and the learning rate of each step.

    rate(n) = learning_rate · n/warmup                                                  for step n = 1 … warmup
    cosine:   learning_rate · (φ + (1 − φ)(1 + cos(π (n − warmup)/(steps − warmup)))/2)         after that; φ is final_fraction
    steps:    learning_rate until step decay_steps[0], then decay_rates[0] until decay_steps[1], …

adam is AdamW, whose decay of weights is apart from the gradient; sgd has Nesterov momentum μ:
g ← g + weight_decay · w,  v ← μ v + g,  w ← w − rate · (g + μ v).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch
from torch import nn

from hypernetworks.errors import UsageError, check_count

Optimizer = Literal["adam", "sgd"]
Decay = Literal["cosine", "steps"]
Precision = Literal["float32", "bf16"]

MOMENTUM: Final = 0.9


@dataclass(frozen=True)
class Schedule:
    """How a model is trained. Contradictory or impossible settings fail when made, with a UsageError."""

    steps: int = 3000
    """Optimiser steps."""
    optimizer: Optimizer = "adam"
    """adam: AdamW. sgd: with Nesterov momentum 0.9."""
    learning_rate: float = 3e-3
    """The optimiser's, at its highest."""
    warmup: int = 100
    """Steps in which the learning rate rises from 0; where there are fewer steps than these, it does nothing else."""
    decay: Decay = "cosine"
    """How the learning rate falls: along a cosine, or in steps."""
    final_fraction: float = 0.1
    """The share of learning_rate that is left at the last step of the cosine; 1: no decay. Decay in steps takes 1 alone."""
    decay_steps: tuple[int, ...] = ()
    """The steps after which the next of decay_rates holds (decay in steps)."""
    decay_rates: tuple[float, ...] = ()
    """The learning rates after those steps (decay in steps)."""
    weight_decay: float = 0.01
    """The optimiser's, on matrices of weights and kernels alone, not on biases, norms, embeddings z or scales."""
    clip: float = 1.0
    """The gradient of all parameters together is cut to this length; 0: never."""
    accumulate: int = 1
    """Equal parts in which a batch, or each process's share of it, is worked one after another, their gradients added up: as
    many times less memory for the same step. Norms over the batch (BatchNorm) are those of the part."""
    precision: Precision = "float32"
    """bf16: matrix products and convolutions of the training steps in bfloat16, by autocast; weights, loss, optimiser and
    validations stay in float32."""
    evaluate_every: int = 500
    """Steps between two validations; each saves the run."""
    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    seed: int = 0
    """Of everything random: initial weights, dropout, the order of images and their changes."""

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "evaluate_every", "log_every"):
            check_count(name, getattr(self, name))
        for name, kind in (("optimizer", Optimizer), ("decay", Decay), ("precision", Precision)):
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} should be {' or '.join(choices)}, got {getattr(self, name)!r}")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"learning_rate should be a finite number above 0, got {self.learning_rate}")
        for name in ("weight_decay", "clip"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} should be a finite number of at least 0, got {getattr(self, name)}")
        if not 0 <= self.final_fraction <= 1:
            raise UsageError(f"final_fraction should lie in [0, 1], got {self.final_fraction}")
        check_count("warmup", self.warmup, least=0)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed should lie in [0, 2^63), got {self.seed}")
        self._check_decay()

    def _check_decay(self) -> None:
        at, rates = self.decay_steps, self.decay_rates
        if self.decay == "cosine":
            if at or rates:
                raise UsageError(
                    f"decay cosine takes no decay_steps and decay_rates, got {_listed(at)}, {_listed(rates)}"
                )
            return
        if self.final_fraction != 1:
            raise UsageError(
                f"decay steps takes final_fraction 1 alone (it is the cosine's), got {self.final_fraction}"
            )
        if not at or len(at) != len(rates):
            raise UsageError(
                f"decay steps needs as many decay_steps as decay_rates, at least one, got {_listed(at)}, {_listed(rates)}"
            )
        if list(at) != sorted({step for step in at if step > self.warmup}):
            raise UsageError(f"decay_steps should rise, all beyond warmup {self.warmup}, got {_listed(at)}")
        if not all(0 < rate < math.inf for rate in rates):
            raise UsageError(f"decay_rates should be finite numbers above 0, got {_listed(rates)}")

    def rate(self, step: int) -> float:
        """The learning rate of step number `step`, from 1."""
        if step <= self.warmup:
            return self.learning_rate * step / self.warmup
        if self.decay == "steps":
            return (self.learning_rate, *self.decay_rates)[sum(step > at for at in self.decay_steps)]
        done = (step - self.warmup) / (self.steps - self.warmup)
        φ = self.final_fraction
        return self.learning_rate * (φ + (1 - φ) * (1 + math.cos(math.pi * done)) / 2)


def make_optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """The schedule's optimiser for the parameters of a model; the learning rate is set at each step."""
    groups = _parameter_groups(model, schedule.weight_decay)
    if schedule.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups)


def _listed(values: Iterable[float]) -> str:
    return " ".join(map(str, values)) or "none"


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels called weight… decay; biases, norms, P, p and D, which have other names or one dimension, do not."""
    decayed, kept = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_weight = name.rpartition(".")[2].startswith("weight") and parameter.dim() > 1
        (decayed if is_weight else kept).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]
