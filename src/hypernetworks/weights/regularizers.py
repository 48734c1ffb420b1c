"""Continual learning with a hypernetwork: learning new tasks must not change the weights generated for old ones.

    L = L_task + λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ)‖²           over the T tasks learned before

Φ*, c*: the generator and conditions after the last task was learned. The sum may be taken over a random subset of the tasks.
von Oswald et al., "Continual learning with hypernetworks", ICLR 2020, equation 2 (without its look-ahead ΔΦ).
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_positive, check_sizes
from hypernetworks.weights.network import HyperNetwork


class ContinualRegularizer(nn.Module):
    """Penalises changes of the weights generated for learned tasks: λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ)‖².

    It keeps one copy of the generator, and of the target's own tensors that it acts on, whatever the number of tasks.
    Parameters of the target that are not generated are not regularised: freeze them, or generate them. As in the paper, squares
    are summed over all weights, not averaged.

    Args:
        net: the hypernetwork. Its generator must take conditions.
        strength: λ, to be tuned.
        tasks_per_step: how many of the remembered tasks to draw in each call; None for all. The expectation over draws
            equals the value for all tasks.

    Raises:
        ValueError: the generator takes no condition, or conditions differ in shape from the remembered ones.

    Source: von Oswald et al., ICLR 2020, equation 2.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(8))
        >>> tasks = hn.TaskEmbedding(5, size=8)
        >>> regularizer = hn.ContinualRegularizer(net, strength=0.01)
        >>> for task in range(2):
        ...     loss = net(torch.randn(4, 3), condition=tasks(task)).square().mean()
        ...     loss = loss + regularizer(tasks.weight[:task])          # 0 for the first task
        ...     regularizer.remember(tasks.weight[: task + 1])
    """

    def __init__(self, net: HyperNetwork, strength: float = 0.01, tasks_per_step: int | None = None) -> None:
        super().__init__()
        check_positive("strength", strength)
        if tasks_per_step is not None:
            check_sizes(tasks_per_step=tasks_per_step)
        if net.generator.condition_size is None:
            raise ValueError(f"{type(net.generator).__name__} takes no condition, so it cannot distinguish tasks")
        self._net = (net,)  # in a tuple, so that it is not registered as a submodule
        self.strength = strength
        self.tasks_per_step = tasks_per_step
        self.old: nn.Module | None = None
        self.old_base: Mapping[str, Tensor] = {}
        self.old_conditions: Tensor | None = None

    @torch.no_grad()
    def remember(self, conditions: Tensor) -> None:
        """Remember the weights generated for these conditions, (T, C): those of all tasks learned so far."""
        net = self._net[0]
        self._check(conditions, None)
        self.old = deepcopy(net.generator).requires_grad_(False)
        self.old_base = {name: net.target.get_parameter(name).detach().clone() for name in net.generator.names}
        self.old_conditions = conditions.detach().clone()

    def forward(self, conditions: Tensor | None = None) -> Tensor:
        """λ / T Σ_t ‖...‖²; 0 before `remember`. `conditions` (T, C) are the current ones, by default those remembered."""
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
