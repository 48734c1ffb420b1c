"""Conditions turned into inputs that generators expect: entries with second moment 1, and a norm that does not depend on c.

    cos/sin      x = √2 [cos(π/2 u), sin(π/2 u)],    u = (c − low) / (high − low)
    Fourier      x = √2 [cos(2π F c), sin(2π F c)],  F fixed, from N(0, σ²)

    encoded      W = g(encoder(c), W_target)          with these or any module as the encoder

C condition, K frequencies.  c (C,) or (B, C).
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_finite, check_positive, check_sizes
from hypernetworks.weights.checks import check_condition
from hypernetworks.weights.forms import Form
from hypernetworks.weights.generators.factors import Factors
from hypernetworks.weights.generators.generator import Generator, check_generator
from hypernetworks.weights.selection import TargetWeight


class CosSinEncoder(nn.Module):
    """Encodes numbers in an interval by an angle of a quarter turn: √2 [cos(π/2 u), sin(π/2 u)], u = (c − low) / (high − low).

    With a plain number c as the condition, the generated weights start in proportion to c. The encoding has the same norm for
    every c.

    Args:
        condition_size: C, the numbers of a condition. The encoding has 2 C.
        low, high: the interval, by default [0, 1].

    Raises:
        ValueError: the interval is empty or not finite, or the size is below 1.
        TypeError: an argument has the wrong type.

    Source: Ortiz, Guttag and Dalca, "Magnitude invariant parametrizations improve hypernetwork learning", ICLR 2024.

    Example:
        >>> hn.CosSinEncoder(1)(torch.tensor([0.0]))
        tensor([1.4142, 0.0000])
    """

    def __init__(self, condition_size: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size)
        check_finite("low", low)
        check_finite("high", high)
        if not low < high:
            raise ValueError(f"low should be below high, got {low} and {high}")
        self.condition_size = condition_size
        self.low = low
        self.high = high

    def forward(self, condition: Tensor) -> Tensor:
        """Encode conditions (..., C) as (..., 2 C)."""
        angle = math.pi / 2 * (condition - self.low) / (self.high - self.low)
        # √2 [cos(π/2 u), sin(π/2 u)]
        return math.sqrt(2) * torch.cat((angle.cos(), angle.sin()), dim=-1)


class FourierEncoder(nn.Module):
    """Encodes numbers by cosines and sines of random frequencies: √2 [cos(2π F c), sin(2π F c)], F fixed, from N(0, σ²).

    Conditions that are close get similar weights; σ says how close. F is in the state dict.

    Args:
        condition_size: C, the numbers of a condition.
        frequencies: K. The encoding has 2 K numbers.
        deviation: σ, in periods per unit of c.

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

    Source: Tancik et al., "Fourier features let networks learn high frequency functions", NeurIPS 2020.

    Example:
        >>> hn.FourierEncoder(2, frequencies=16)(torch.randn(5, 2)).shape
        torch.Size([5, 32])
    """

    F: Tensor

    def __init__(self, condition_size: int, frequencies: int, deviation: float = 1.0) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size, frequencies=frequencies)
        check_positive("deviation", deviation)
        self.condition_size = condition_size
        self.frequencies = frequencies
        self.deviation = deviation
        self.register_buffer("F", deviation * torch.randn(frequencies, condition_size))

    def forward(self, condition: Tensor) -> Tensor:
        """Encode conditions (..., C) as (..., 2 K)."""
        angle = 2 * math.pi * nn.functional.linear(condition, self.F)
        # √2 [cos(2π F c), sin(2π F c)]
        return math.sqrt(2) * torch.cat((angle.cos(), angle.sin()), dim=-1)


class EncodedGenerator(Generator):
    """A generator whose condition passes through an encoder first: W = g(encoder(c), W_target).

    The encoder is trained with the generator, unless its parameters are frozen. When the generator is bound, the encoder is
    converted to its dtype and moved to its device.

    Args:
        encoder: any module from (..., C) to (..., generator.condition_size), such as a `CosSinEncoder`, a `FourierEncoder` or a
            multi-layer perceptron.
        generator: g. It should take a condition.
        condition_size: C. The default is the encoder's attribute of this name.

    Raises:
        ValueError: the generator takes no condition, or C is not known, or the encoder returns another size than the
            generator takes.
        TypeError: an argument has the wrong type.

    Example:
        >>> generator = hn.EncodedGenerator(hn.CosSinEncoder(1), hn.FullGenerator(2))
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), generator)
        >>> net(torch.randn(4, 3), condition=torch.rand(4, 1)).shape             # a number in [0, 1] per sample
        torch.Size([4, 2])
    """

    def __init__(self, encoder: nn.Module, generator: Generator, condition_size: int | None = None) -> None:
        super().__init__()
        if not isinstance(encoder, nn.Module):
            raise TypeError(f"encoder should be a torch.nn.Module, got {type(encoder).__name__}")
        check_generator(generator)
        if generator.condition_size is None:
            raise ValueError(f"{type(generator).__name__} takes no condition, so it needs no encoder")
        size = getattr(encoder, "condition_size", None) if condition_size is None else condition_size
        if size is None:
            raise ValueError(f"condition_size is needed: a {type(encoder).__name__} does not say the size of its input")
        check_sizes(condition_size=size)
        self.condition_size = size
        self.generator = generator
        self.encoder = encoder

    def leaves(self, weight: TargetWeight) -> bool:
        """As in the generator."""
        return self._inner().leaves(weight)

    def trains_base(self, name: str) -> bool:
        """As in the generator."""
        return self._inner().trains_base(name)

    def uses_base(self, name: str) -> bool:
        """As in the generator."""
        return self._inner().uses_base(name)

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Bind the generator, and move the encoder to it."""
        self._inner().bind(weights)
        self.encoder.to(device=weights[0].value.device, dtype=weights[0].value.dtype)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Encode the condition, and generate."""
        return self.generator(self._encoded(condition), base)

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """As in the generator."""
        return self._inner().forms(self._encoded(condition), base)

    def factors(self, condition: Tensor | None) -> dict[str, Factors]:
        """As in the generator."""
        check_condition(self.condition_size, type(self).__name__, condition)
        condition, _ = self.prepare(condition, {})
        return self._inner().factors(self._encoded(condition))

    def _encoded(self, condition: Tensor | None) -> Tensor:
        encoded = self.encoder(condition)
        size = self._inner().condition_size
        if encoded.shape[-1] != size:
            raise ValueError(
                f"the encoder returned shape {tuple(encoded.shape)}, but {type(self.generator).__name__} takes (..., {size})"
            )
        return encoded

    def _inner(self) -> Generator:
        return cast(Generator, self.generator)
