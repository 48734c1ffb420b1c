"""Generated changes of the target's own weights: W = W_target + s Δ(c), where any generator makes Δ."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from hypernetworks.recurrent.checks import check_finite
from hypernetworks.weights.generators.generator import Generator, check_generator
from hypernetworks.weights.selection import TargetWeight


class ResidualGenerator(Generator):
    """Adds what a generator makes to the target's own tensors: W = W_target + s Δ(c).

    W_target is trained if it requires gradients: it is then the part of the weights that all conditions share. For the
    generator of Δ the target's tensors are zero. So a `FullGenerator` with init="target" starts at Δ = 0 for every condition,
    and one with a hyperfan scheme at random Δ of that variance.

    Args:
        generator: makes Δ. One that scales its base, such as `RowScaleGenerator`, cannot.
        scale: s, a fixed number. A small one makes the steps of an optimiser in Δ small, too.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the scale is not finite.

    Source: the additive form of Ortiz, Guttag and Dalca, "Magnitude invariant parametrizations improve hypernetwork learning",
        ICLR 2024.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.ResidualGenerator(hn.ChunkedGenerator(8), scale=0.1))
        >>> net(torch.randn(4, 3), condition=torch.randn(4, 8)).shape
        torch.Size([4, 2])
    """

    def __init__(self, generator: Generator, scale: float = 1.0) -> None:
        super().__init__()
        check_generator(generator)
        check_finite("scale", scale)
        self.condition_size: int | None = generator.condition_size
        self.generator = generator
        self.scale = scale

    def leaves(self, weight: TargetWeight) -> bool:
        """As in the generator."""
        return cast(Generator, self.generator).leaves(weight)

    def trains_base(self, name: str) -> bool:
        """Always: the generated tensor contains W_target."""
        return True

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind the generator to zeros."""
        zeros = [weight._replace(value=torch.zeros_like(weight.value)) for weight in weights]
        cast(Generator, self.generator).bind(zeros)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add s Δ(c) to the target's tensors."""
        zeros = {name: tensor.new_zeros(()).expand_as(tensor) for name, tensor in base.items()}
        # W = W_target + s Δ(c)
        return {name: base[name] + self.scale * delta for name, delta in self.generator(condition, zeros).items()}
