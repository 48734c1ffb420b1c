"""What all generators are: a map from a condition c, and the target's own weights, to weights.

    W = g(c, W_target)            c (C,): one set, W of the target's shape; c (B, C): one set per sample, W (B, *shape)

Generators compose: one after the other (`GeneratorChain`), or each for its own part of the target (`GeneratorSplit`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..recurrent.checks import check_sizes
from .init import trunk_
from .selection import Modules, TargetWeight, selector


class Generator(nn.Module, ABC):
    """Makes weights: made with its own settings, then bound to the weights it is to make by `HyperNetwork`.

    A subclass writes `build(weights)`, which makes its parameters once the tensors to be made are known, and
    `forward(condition, base) -> {name: tensor}`; condition is (C,) or (B, C), or None where condition_size is None; base holds
    the target's own tensors by name. A tensor made is of the target's shape, with B before it for a condition (B, C).
    """

    condition_size: int | None = None
    """C, or None for a generator that takes no condition."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        """The names of the tensors it makes, once bound."""

    def bind(self, weights: Sequence[TargetWeight]) -> None:
        """Make the parameters for these weights. Errors: ValueError when it is bound already, or cannot make one of them."""
        if self.names:
            raise ValueError(f"this {type(self).__name__} makes the weights of a target already: make another one")
        kinds = {(weight.value.dtype, weight.value.device) for weight in weights}
        if len(kinds) > 1:
            raise ValueError(f"the generated parameters should be of one dtype and device, got {_listed(kinds)}")
        self.build(weights)
        self.names = tuple(weight.name for weight in weights)

    def leaves(self, weight: TargetWeight) -> bool:
        """Whether a selected parameter stays as it is, because this generator does not make such."""
        return False

    def trains_base(self, name: str) -> bool:
        """Whether the target's own tensor of this name stays a parameter that is learned, if it is one."""
        return False

    def uses_base(self, name: str) -> bool:
        """Whether what is made depends on the target's own tensor of this name."""
        return self.trains_base(name)

    @abstractmethod
    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the generator's parameters."""

    @abstractmethod
    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights for a condition."""


class GeneratorChain(Generator):
    """Generators one after the other: W = g_n(c, ... g_2(c, g_1(c, W_target))), each acting on what the one before made.

    For one the target's weights made by a `FullGenerator` with rows scaled by a `RowScaleGenerator`. Those that take a
    condition take the same one. A generator that ignores its base (full, tiled) makes sense in the first place only.

    Errors: ValueError for no generator, or for conditions of different sizes.
    """

    def __init__(self, *generators: Generator) -> None:
        super().__init__()
        self.condition_size = _common_size(generators)
        self.generators = nn.ModuleList(generators)

    def leaves(self, weight: TargetWeight) -> bool:
        """What any of them leaves."""
        return any(cast(Generator, generator).leaves(weight) for generator in self.generators)

    def trains_base(self, name: str) -> bool:
        """As the first one has it: the others get what it made."""
        return cast(Generator, self.generators[0]).trains_base(name)

    def uses_base(self, name: str) -> bool:
        """As the first one has it: the others get what it made."""
        return cast(Generator, self.generators[0]).uses_base(name)

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind each to all weights."""
        for generator in self.generators:
            cast(Generator, generator).bind(weights)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights for a condition."""
        made = dict(base)
        for generator in self.generators:
            made = generator(condition if cast(Generator, generator).condition_size else None, made)
        return made


class GeneratorSplit(Generator):
    """Generators side by side, each for its own part: ``GeneratorSplit({nn.Conv2d: g_1, "*.bias": g_2})``.

    The keys select as `HyperNetwork`'s `modules` does, among the parameters selected there; the first key that selects a
    parameter has it. Those that take a condition take the same one.

    Errors: ValueError for no generator, conditions of different sizes, a parameter that no key selects, a key left without any.
    """

    def __init__(self, parts: Mapping[Any, Generator]) -> None:
        super().__init__()
        self.condition_size = _common_size([*parts.values()])
        self.selections: tuple[Modules, ...] = tuple(parts)
        self.generators = nn.ModuleList(parts.values())

    def leaves(self, weight: TargetWeight) -> bool:
        """What the generator leaves whose key selects it."""
        for key, generator in zip(self.selections, self._parts(), strict=True):
            if selector(key)(weight):
                return generator.leaves(weight)
        return False

    def trains_base(self, name: str) -> bool:
        """As the one has it that makes this tensor."""
        return any(part.trains_base(name) for part in self._parts() if name in part.names)

    def uses_base(self, name: str) -> bool:
        """As the one has it that makes this tensor."""
        return any(part.uses_base(name) for part in self._parts() if name in part.names)

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind each to the weights that its key selects."""
        left = list(weights)
        for key, generator in zip(self.selections, self._parts(), strict=True):
            chosen = selector(key)
            mine = [weight for weight in left if chosen(weight)]
            if not mine:
                raise ValueError(f"{key!r} selects none of the generated parameters that are left: {_named(left)}")
            generator.bind(mine)
            left = [weight for weight in left if not chosen(weight)]
        if left:
            raise ValueError(f"no generator makes {_named(left)}")

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights for a condition."""
        made: dict[str, Tensor] = {}
        for part in self._parts():
            own = {name: base[name] for name in part.names}
            made |= part(condition if part.condition_size else None, own)
        return made

    def _parts(self) -> list[Generator]:
        return [cast(Generator, generator) for generator in self.generators]


def trunk(inputs: int, hidden: Sequence[int], like: Tensor) -> tuple[nn.Sequential, int]:
    """ReLU layers from the condition to what the heads read, and the width of that; none for an empty `hidden`."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size, device=like.device, dtype=like.dtype), nn.ReLU()]
        inputs = size
    made = nn.Sequential(*layers)
    trunk_(made)
    return made, inputs


def shaped(flat: Tensor, shape: torch.Size) -> Tensor:
    """(numel,) -> shape, (B, numel) -> (B, *shape)."""
    return flat.reshape(*flat.shape[:-1], *shape)


def check_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    """The widths of the hidden layers, each at least 1."""
    if not isinstance(hidden, list | tuple):
        raise TypeError(f"hidden should be a tuple of sizes, got {hidden!r}")
    for size in hidden:
        check_sizes(hidden=size)
    return tuple(hidden)


def _common_size(generators: Sequence[Generator]) -> int | None:
    if not generators:
        raise ValueError("at least one generator is needed, got none")
    for generator in generators:
        if not isinstance(generator, Generator):
            raise TypeError(f"a generator should be a hypernetworks.Generator, got {type(generator).__name__}")
    sizes = sorted({generator.condition_size for generator in generators if generator.condition_size is not None})
    if len(sizes) > 1:
        raise ValueError(f"generators that act together should have one condition_size, got {_listed(sizes)}")
    return sizes[0] if sizes else None


def _listed(things: Any) -> str:
    return ", ".join(map(str, things))


def _named(weights: Sequence[TargetWeight]) -> str:
    return ", ".join(weight.name for weight in weights) or "none"
