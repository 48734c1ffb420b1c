"""Generators that consist of generators: in sequence, or each for its own part of the target."""

from collections.abc import Mapping, Sequence
from glob import escape
from typing import Any, cast

from torch import Tensor, nn

from hypernetworks.weights.forms import Form
from hypernetworks.weights.generators.factors import Factors
from hypernetworks.weights.generators.generator import Generator, check_generator
from hypernetworks.weights.selection import Modules, TargetWeight, selector


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
        self.condition_size: int | None = _common_size(generators)
        self.generators: nn.ModuleList = nn.ModuleList(generators)

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
            # what the next ones act on is generated, hence not constant
            weights = [weight._replace(value=weight.value.detach().requires_grad_()) for weight in weights]

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
        self.condition_size: int | None = _common_size([*parts.values()])
        self.selections: tuple[Modules, ...] = tuple(parts)
        self.generators: nn.ModuleList = nn.ModuleList(parts.values())

    @property
    def parts(self) -> dict[Any, Generator]:
        """The generators by key. Once they are bound, a key is a tuple of names."""
        return dict(zip(self.selections, self._parts(), strict=True))

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
        # names instead of keys: a predicate may be a lambda, which cannot be pickled
        self.selections = tuple(tuple(map(escape, part.names)) for part in self._parts())

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate the weights for a condition."""
        made: dict[str, Tensor] = {}
        for part in self._parts():
            own = {name: base[name] for name in part.names}
            made |= part(condition if part.condition_size else None, own)
        return made

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """Those of all generators."""
        made: dict[str, Form | Tensor] = {}
        for part in self._parts():
            own = {name: base[name] for name in part.names}
            made |= part.forms(condition, own) if part.condition_size else part(None, own)
        return made

    def factors(self, condition: Tensor | None) -> dict[str, Factors]:
        """Those of all generators.

        Raises:
            TypeError: one of them makes no low-rank matrices.
        """
        made: dict[str, Factors] = {}
        for part in self._parts():
            made |= part.factors(condition if part.condition_size else None)
        return made

    def _parts(self) -> list[Generator]:
        return [cast(Generator, generator) for generator in self.generators]


def _common_size(generators: Sequence[Generator]) -> int | None:
    if not generators:
        raise ValueError("at least one generator is needed, got none")
    for generator in generators:
        check_generator(generator)
    sizes = sorted({generator.condition_size for generator in generators if generator.condition_size is not None})
    if len(sizes) > 1:
        raise ValueError(
            f"generators that act together should have one condition_size, got {', '.join(map(str, sizes))}"
        )
    return sizes[0] if sizes else None


def _named(weights: Sequence[TargetWeight]) -> str:
    return ", ".join(weight.name for weight in weights) or "none"
