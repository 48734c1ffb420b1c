"""Continual learning with a hypernetwork: learning new tasks must not change the weights generated for old ones.

    L = L_task + λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ + ΔΦ)‖²      over the T tasks learned before

Φ*, c*: the generator and conditions after the last task was learned. ΔΦ: a constant, the step that L_task alone would make, or
0. The sum may be taken over a random subset of the tasks.
von Oswald et al., "Continual learning with hypernetworks", ICLR 2020, equation 2.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hypernetworks.recurrent.checks import check_positive, check_sizes
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.network import HyperNetwork


class ContinualRegularizer(nn.Module):
    """Penalises changes of the weights generated for learned tasks: λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ + ΔΦ)‖².

    It keeps one copy of the generator, and of the target's own tensors that it acts on, whatever the number of tasks. These and
    the old conditions are in its state dict, and move with `to`. To resume, load the state into a regulariser of the same kind
    of hypernetwork, as it is after construction. Parameters of the target that are not generated are not regularised: freeze
    them, or generate them. As in the paper, squares are summed over all weights, not averaged.

    Args:
        net: the hypernetwork. Its generator must take conditions.
        strength: λ, to be tuned.
        tasks_per_step: how many of the remembered tasks to draw in each call; None for all. The expectation over draws
            equals the value for all tasks.

    Raises:
        ValueError: the generator takes no condition, or conditions or steps differ in shape, names or device from what is
            expected.
        RuntimeError: from `load_state_dict`, as in torch, if the state is that of another generator.

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

    old_conditions: Tensor

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
        like = next(net.generator.parameters())
        self.old = _Old(net)
        self.register_buffer("old_conditions", like.new_zeros(0, net.generator.condition_size))
        self.register_load_state_dict_pre_hook(_make_room)

    @torch.no_grad()
    def remember(self, conditions: Tensor) -> None:
        """Remember the weights generated for these conditions, (T, C): those of all tasks learned so far."""
        self._check(conditions, None)
        self.old: nn.Module = _Old(self._net[0])
        self.old_conditions = conditions.detach().clone()

    def forward(self, conditions: Tensor | None = None, step: Mapping[str, Tensor] | None = None) -> Tensor:
        """λ / T Σ_t ‖...‖²; 0 before `remember`.

        Args:
            conditions: (T, C), the current ones. The default is those remembered.
            step: ΔΦ, by the names of the generator's parameters, see `planned_step`. The default is 0.
        """
        net, old = self._net[0], self.old_conditions
        if not len(old):
            return next(net.generator.parameters()).new_zeros(())
        now = old if conditions is None else conditions
        self._check(now, old)
        if self.tasks_per_step is not None and self.tasks_per_step < len(old):
            drawn = torch.randperm(len(old), device=old.device)[: self.tasks_per_step]
            old, now = old[drawn], now[drawn]
        with torch.no_grad():
            wanted = self.old(old, _own(net))
        made = net.generate(now) if step is None else _generate_after(net, now, step)
        # λ / T Σ_t ‖g(c_t*; Φ*) − g(c_t; Φ + ΔΦ)‖²
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
        if like is not None and conditions.device != like.device:
            raise ValueError(
                f"conditions are on {conditions.device}, but the remembered ones on {like.device}: move the regulariser, too"
            )


@torch.no_grad()
def planned_step(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """The change of the module's parameters that `optimizer.step()` would make with the present gradients.

    Parameters and the state of the optimizer are the same afterwards. Meanwhile a copy of both is in memory.

    Args:
        optimizer: of the module's parameters, and perhaps others.
        module: for instance `net.generator`.

    Returns:
        The change by the names of the parameters.

    Source: ΔΦ in equation 2 of von Oswald et al., ICLR 2020.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(8))
        >>> tasks = hn.TaskEmbedding(5, size=8)
        >>> regularizer = hn.ContinualRegularizer(net)
        >>> regularizer.remember(tasks.weight[:1])
        >>> adam = torch.optim.Adam([*net.generator.parameters(), *tasks.parameters()])
        >>> net(torch.randn(4, 3), condition=tasks(1)).square().mean().backward()
        >>> step = hn.planned_step(adam, net.generator)
        >>> regularizer(tasks.weight[:1], step=step).backward()         # adds to the gradients of the task
        >>> adam.step()
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = {parameter: parameter.clone() for parameter in parameters}
    state = deepcopy(optimizer.state_dict())
    optimizer.step()
    change = {name: parameter - before.get(parameter, parameter) for name, parameter in module.named_parameters()}
    for parameter, value in before.items():
        parameter.copy_(value)
    optimizer.load_state_dict(state)
    return change


def _make_room(regularizer: nn.Module, state: Mapping[str, Any], prefix: str, *others: Any) -> None:
    """Before a state is loaded: as many old conditions as it has."""
    assert isinstance(regularizer, ContinualRegularizer)
    given, own = state.get(f"{prefix}old_conditions"), regularizer.old_conditions
    if isinstance(given, Tensor) and given.dim() == 2 and given.shape[1] == own.shape[1]:
        regularizer.old_conditions = own.new_zeros(given.shape)


class _Old(nn.Module):
    """A generator as it is now, and the target's own tensors that it acts on."""

    def __init__(self, net: HyperNetwork) -> None:
        super().__init__()
        self.generator = deepcopy(net.generator).requires_grad_(False)
        for k, name in enumerate(net.generator.names):  # a buffer's name has no dots
            if net.generator.uses_base(name):
                self.register_buffer(f"base{k}", net.target.get_parameter(name).detach().clone())

    def forward(self, conditions: Tensor, now: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for these conditions. `now`, the target's present tensors, fills in those that are not used."""
        generator = cast(Generator, self.generator)
        then = {generator.names[int(key[4:])]: value for key, value in self.named_buffers(recurse=False)}
        return generator(conditions, {**now, **then})


def _own(net: HyperNetwork) -> dict[str, Tensor]:
    """The target's own tensors."""
    return {name: net.target.get_parameter(name) for name in net.generator.names}


def _generate_after(net: HyperNetwork, conditions: Tensor, step: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Generate with the parameters Φ + ΔΦ."""
    parameters = dict(net.generator.named_parameters())
    if parameters.keys() != step.keys():
        odd = ", ".join(sorted(parameters.keys() ^ step.keys()))
        raise ValueError(f"step should have one tensor for each of the generator's parameters, but not so: {odd}")
    # Φ + ΔΦ, with ΔΦ constant
    moved = {name: parameter + step[name].detach() for name, parameter in parameters.items()}
    return functional_call(net.generator, moved, (conditions, _own(net)))
