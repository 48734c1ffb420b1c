"""Continual learning with a hypernetwork: new tasks must not change the weights made for old ones.

    L = L_task + λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ)‖²           over the T tasks learned before

Φ*, c*: the generator and conditions as they were when the last task was learned. The sum may run over a random few of them.
von Oswald et al., "Continual learning with hypernetworks", ICLR 2020, equation 2 (without its look-ahead ΔΦ).
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from ..recurrent.checks import check_positive, check_sizes
from .network import HyperNetwork


class ContinualRegularizer(nn.Module):
    """Holds the weights made for learned tasks where they were: λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ)‖².

        regularizer = hn.ContinualRegularizer(net, strength=0.01)
        for task in range(5):
            ...  loss = task_loss + regularizer(tasks.weight[:task])      # 0 before anything is remembered
            regularizer.remember(tasks.weight[: task + 1])

    It keeps one copy of the generator (and of the target's own tensors that it acts on), whatever the number of tasks.
    Parameters of the target that are not generated are not held: freeze them, or generate them. Squares are summed over all
    weights, not averaged, as in the paper.

    Args:
        net: the hypernetwork; its generator takes conditions.
        strength: λ, a thing to tune.
        tasks_per_step: how many of the remembered tasks a call looks at, drawn anew for each; None for all. The mean over draws
            is that over all.

    Errors: ValueError for a generator without conditions, or conditions of another shape than what was remembered.
    """

    def __init__(self, net: HyperNetwork, strength: float = 0.01, tasks_per_step: int | None = None) -> None:
        super().__init__()
        check_positive("strength", strength)
        if tasks_per_step is not None:
            check_sizes(tasks_per_step=tasks_per_step)
        if net.generator.condition_size is None:
            raise ValueError(f"{type(net.generator).__name__} takes no condition, so there are no tasks to hold apart")
        self._net = (net,)  # in a tuple: it is no part of this module
        self.strength = strength
        self.tasks_per_step = tasks_per_step
        self.old: nn.Module | None = None
        self.old_base: Mapping[str, Tensor] = {}
        self.old_conditions: Tensor | None = None

    @torch.no_grad()
    def remember(self, conditions: Tensor) -> None:
        """Hold from now on what is made for these conditions, (T, C): those of all tasks learned so far."""
        net = self._net[0]
        self._check(conditions, None)
        self.old = deepcopy(net.generator).requires_grad_(False)
        self.old_base = {name: net.target.get_parameter(name).detach().clone() for name in net.generator.names}
        self.old_conditions = conditions.detach().clone()

    def forward(self, conditions: Tensor | None = None) -> Tensor:
        """λ / T Σ_t ‖...‖²; conditions (T, C) as they are now, the remembered ones when left out. 0 before `remember`."""
        net = self._net[0]
        if self.old is None or self.old_conditions is None:
            return next(net.generator.parameters()).new_zeros(())
        old = self.old_conditions
        now = old if conditions is None else conditions
        self._check(now, old)
        if self.tasks_per_step is not None and self.tasks_per_step < len(old):
            drawn = torch.randperm(len(old), device=old.device)[: self.tasks_per_step]
            old, now = old[drawn], now[drawn]
        with torch.no_grad():
            wanted = self.old(old, self.old_base)
        made = net.generate(now)
        # λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ)‖²
        distance = torch.stack([(made[name] - wanted[name]).square().sum() for name in made]).sum()
        return self.strength / len(old) * distance

    def _check(self, conditions: Tensor, like: Tensor | None) -> None:
        size = self._net[0].generator.condition_size
        expected = ("tasks", size) if like is None else tuple(like.shape)
        if (
            conditions.dim() != 2
            or conditions.shape[1] != size
            or (like is not None and conditions.shape != like.shape)
        ):
            raise ValueError(f"conditions should have shape {expected}, got {tuple(conditions.shape)}")
