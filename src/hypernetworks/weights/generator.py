"""The base class of generators, which map a condition c and the target's own weights to generated weights.

    W = g(c, W_target)            c (C,): one set, W of the target's shape; c (B, C): one set per sample, W (B, *shape)

Generators can be composed: applied in sequence (`GeneratorChain`), or each to its own part of the target (`GeneratorSplit`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.forms import Form, Full
from hypernetworks.weights.init import trunk_
from hypernetworks.weights.selection import Modules, TargetWeight, selector


class Generator(nn.Module, ABC):
    """Generates weights. It is constructed with its own settings; `HyperNetwork` then binds it to the target's weights.

    A subclass implements `build(weights)`, which makes its parameters once the target's tensors are known, and
    `forward(condition, base) -> {name: tensor}`. The condition is (C,) or (B, C), or None if `condition_size` is None; `base`
    has the target's own tensors by name. A generated tensor has the target's shape, preceded by B for a condition (B, C).

    Example:
        >>> class Shift(hn.Generator):
        ...     condition_size = 1
        ...     def build(self, weights):
        ...         self.step = torch.nn.Parameter(torch.tensor(0.1))
        ...     def uses_base(self, name):
        ...         return True
        ...     def forward(self, condition, base):
        ...         assert condition.dim() == 1     # one set of weights
        ...         return {name: base[name] + self.step * condition for name in self.names}
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), Shift())
        >>> net(torch.zeros(4, 3), condition=torch.ones(1)).shape
        torch.Size([4, 2])
    """

    condition_size: int | None = None
    """C, or None for a generator that takes no condition."""

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        """The names of the generated tensors; empty until the generator is bound."""

    def bind(self, weights: Sequence[TargetWeight]) -> None:
        """Make the parameters for these weights.

        Raises:
            ValueError: the generator is already bound, or cannot generate one of the weights.
        """
        if self.names:
            raise ValueError(f"this {type(self).__name__} is already bound to a target: make another one")
        kinds = {(weight.value.dtype, weight.value.device) for weight in weights}
        if len(kinds) > 1:
            raise ValueError(f"the generated parameters should be of one dtype and device, got {_listed(kinds)}")
        self.build(weights)
        self.names = tuple(weight.name for weight in weights)

    def leaves(self, weight: TargetWeight) -> bool:
        """Whether to leave a selected parameter unchanged, because this generator does not generate its kind."""
        return False

    def trains_base(self, name: str) -> bool:
        """Whether the target's own tensor of this name stays trainable, if it is."""
        return False

    def uses_base(self, name: str) -> bool:
        """Whether the generated tensor depends on the target's own tensor of this name."""
        return self.trains_base(name)

    @abstractmethod
    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the generator's parameters for these weights."""

    @abstractmethod
    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for a condition."""

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """The weights for a condition (B, C) in forms that need not be made. What has no B is a tensor, as in `forward`."""
        made = self(condition, base)
        return {name: Full(tensor) if tensor.dim() > base[name].dim() else tensor for name, tensor in made.items()}


class GeneratorChain(Generator):
    """Generators in sequence: W = g_n(c, ... g_2(c, g_1(c, W_target))), each acting on the weights of the previous one.

    For example, a `FullGenerator` generates the weights, and a `RowScaleGenerator` scales their rows. All generators that take
    a condition get the same one. A generator that ignores its base (full, tiled) is useful only in the first place.

    Raises:
        ValueError: no generator is given, or their conditions differ in size.

    Example:
        >>> chain = hn.GeneratorChain(hn.FullGenerator(8), hn.RowScaleGenerator(8))
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), chain)
        >>> net(torch.randn(4, 3), condition=torch.randn(8)).shape
        torch.Size([4, 2])
    """

    def __init__(self, *generators: Generator) -> None:
        super().__init__()
        self.condition_size = _common_size(generators)
        self.generators = nn.ModuleList(generators)

    def leaves(self, weight: TargetWeight) -> bool:
        """Whether any of them leaves it."""
        return any(cast(Generator, generator).leaves(weight) for generator in self.generators)

    def trains_base(self, name: str) -> bool:
        """As in the first generator: the others act on its output."""
        return cast(Generator, self.generators[0]).trains_base(name)

    def uses_base(self, name: str) -> bool:
        """As in the first generator: the others act on its output."""
        return cast(Generator, self.generators[0]).uses_base(name)

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind every generator to all weights."""
        for generator in self.generators:
            cast(Generator, generator).bind(weights)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for a condition."""
        made = dict(base)
        for generator in self.generators:
            made = generator(condition if cast(Generator, generator).condition_size else None, made)
        return made


class GeneratorSplit(Generator):
    """Several generators, each for its own part of the target: ``GeneratorSplit({nn.Conv2d: g_1, "*.bias": g_2})``.

    A key selects parameters as the argument `modules` of `HyperNetwork` does, among those selected there. The first key that
    selects a parameter gets it. All generators that take a condition get the same one.

    Raises:
        ValueError: no generator is given, conditions differ in size, a parameter is selected by no key, or a key is left
            with no parameter.

    Example:
        >>> split = hn.GeneratorSplit({"weight": hn.LowRankGenerator(8, rank=2), "bias": hn.FullGenerator(8)})
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), split)
        >>> net(torch.randn(4, 3), condition=torch.randn(8)).shape
        torch.Size([4, 2])
    """

    def __init__(self, parts: Mapping[Any, Generator]) -> None:
        super().__init__()
        self.condition_size = _common_size([*parts.values()])
        self.selections: tuple[Modules, ...] = tuple(parts)
        self.generators = nn.ModuleList(parts.values())

    def leaves(self, weight: TargetWeight) -> bool:
        """Whether the generator whose key selects the parameter leaves it."""
        for key, generator in zip(self.selections, self._parts(), strict=True):
            if selector(key)(weight):
                return generator.leaves(weight)
        return False

    def trains_base(self, name: str) -> bool:
        """As in the generator of this tensor."""
        return any(part.trains_base(name) for part in self._parts() if name in part.names)

    def uses_base(self, name: str) -> bool:
        """As in the generator of this tensor."""
        return any(part.uses_base(name) for part in self._parts() if name in part.names)

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind every generator to the weights that its key selects."""
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
        """Generate the weights for a condition."""
        made: dict[str, Tensor] = {}
        for part in self._parts():
            own = {name: base[name] for name in part.names}
            made |= part(condition if part.condition_size else None, own)
        return made

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """The forms of every generator."""
        made: dict[str, Form | Tensor] = {}
        for part in self._parts():
            own = {name: base[name] for name in part.names}
            made |= part.forms(condition, own) if part.condition_size else part(None, own)
        return made

    def _parts(self) -> list[Generator]:
        return [cast(Generator, generator) for generator in self.generators]


def trunk(inputs: int, hidden: Sequence[int], like: Tensor) -> tuple[nn.Sequential, int]:
    """Make the ReLU layers between condition and heads, none if `hidden` is (). Return them and their output size."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size, device=like.device, dtype=like.dtype), nn.ReLU()]
        inputs = size
    made = nn.Sequential(*layers)
    trunk_(made)
    return made, inputs


def shaped(flat: Tensor, shape: torch.Size) -> Tensor:
    """Reshape (numel,) to shape, and (B, numel) to (B, *shape)."""
    return flat.reshape(*flat.shape[:-1], *shape)


def check_hidden(hidden: Sequence[int]) -> tuple[int, ...]:
    """Check the widths of the hidden layers: each is at least 1."""
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
