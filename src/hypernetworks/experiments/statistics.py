"""Means, spreads and paired differences over seeds.

    d_s = a_s − b_s for each seed s of n,   mean ± t · sd(d)/√n       the interval of Student's t, n − 1 degrees of freedom

Two variants that are trained with the same seeds see the same data in the same order. What a seed does to both cancels in
the difference. The interval assumes that the differences are independent and normally distributed.
"""

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import NamedTuple

__all__ = ["Difference", "paired_difference", "spread", "t_quantile"]


class Difference(NamedTuple):
    """A mean difference and its 95 % interval."""

    mean: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """For a table, for example "−0.012 (−0.020 to −0.004)"."""
        shown = (f"{value:+.{digits}f}" for value in self)
        middle, low, high = (text.replace("-", "−") for text in shown)
        return middle if math.isinf(self.high) else f"{middle} ({low} to {high})"


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, followed by the standard deviation if there are several values."""
    shown = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{shown}"


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """first − second, seed by seed. With one seed the interval is infinite.

    Raises:
        ValueError: the two have different lengths, or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired differences need equal numbers of seeds, got {len(first)} and {len(second)}")
    differences = [a - b for a, b in zip(first, second, strict=True)]
    n, middle = len(differences), mean(differences)
    half = t_quantile(0.975, n - 1) * stdev(differences) / math.sqrt(n) if n > 1 else math.inf
    return Difference(middle, middle - half, middle + half)


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution, for probabilities above one half, by bisection of its distribution function."""
    low, high = 0.0, 1.0
    while _within(high, degrees) < 2 * probability - 1:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if _within(middle, degrees) < 2 * probability - 1:
            low = middle
        else:
            high = middle
    return high


def _within(t: float, degrees: int) -> float:
    """P(|T| < t), in closed form (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    θ = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    # odd: cos θ + 2/3 cos³ θ + 2·4/(3·5) cos⁵ θ + …;  even: 1 + 1/2 cos² θ + 1·3/(2·4) cos⁴ θ + …
    term = math.cos(θ) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * math.cos(θ) ** 2
        total += term
    return 2 / math.pi * (θ + math.sin(θ) * total) if odd else math.sin(θ) * total
