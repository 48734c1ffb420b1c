"""The base class of generators, which map a condition c and the target's own weights to generated weights.

    W = g(c, W_target)            c (C,): one set, W of the target's shape; c (B, C): one set per sample, W (B, *shape)

Generators can be composed: applied in sequence (`GeneratorChain`), or each to its own part of the target (`GeneratorSplit`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from hypernetworks.weights.selection import TargetWeight


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


def _listed(things: Any) -> str:
    return ", ".join(map(str, things))
