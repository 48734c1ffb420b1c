"""Quantiles of Student's t against its tables and scipy; paired differences against the formula."""

import math
import random
from statistics import mean, stdev

import pytest

from hypernetworks.experiments.statistics import paired_difference, t_quantile


@pytest.mark.parametrize(
    ("degrees", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (30, 2.042)]
)
def test_quantiles_are_those_of_the_tables(degrees: int, printed: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(printed, abs=6e-4)


def test_quantiles_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for degrees in (1, 2, 3, 4, 7, 8, 19, 50, 101):
        for probability in (0.6, 0.9, 0.975, 0.999):
            assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_a_paired_difference_is_that_of_the_seeds() -> None:
    a, b = [1.5, 1.25, 1.75, 1.5], [1.0, 1.0, 1.0, 1.5]
    found = paired_difference(a, b)
    d = [0.5, 0.25, 0.75, 0.0]
    half = 3.182446 * stdev(d) / 2
    assert found == pytest.approx((mean(d), mean(d) - half, mean(d) + half), rel=1e-6)
    assert found.text(2) == "+0.38 (−0.14 to +0.89)"
    alone = paired_difference([1.0], [2.0])
    assert alone == (-1, -math.inf, math.inf)
    assert alone.text(1) == "−1.0"
    with pytest.raises(ValueError, match="equal numbers of seeds, got 2 and 1"):
        paired_difference([1, 2], [1])


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """What a seed does to both variants cancels, however large it is."""
    drawn = random.Random(0)
    covered = 0
    for _ in range(2000):
        common = [drawn.gauss(0, 10) for _ in range(5)]
        a = [c + 0.3 + drawn.gauss(0, 0.1) for c in common]
        found = paired_difference(a, common)
        covered += found.low < 0.3 < found.high
    assert abs(covered / 2000 - 0.95) < 0.015  # three standard deviations
