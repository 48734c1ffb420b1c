"""SVG paths against closed forms, and simplification against its promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetworks.errors import UsageError
from hypernetworks.strokes.simplify import simplified
from hypernetworks.strokes.svg_path import polylines


def test_lines() -> None:
    (line,) = polylines("M1,2 l3 0 V10h-1.5 L0 0z")
    assert line.tolist() == [1 + 2j, 4 + 2j, 4 + 10j, 2.5 + 10j, 0j, 1 + 2j]


def test_numbers_without_separators_and_repeated_arguments() -> None:
    (line,) = polylines("m.5.5 1-1 1e1,+2")
    assert line.tolist() == [0.5 + 0.5j, 1.5 - 0.5j, 11.5 + 1.5j]


def test_each_move_begins_a_line() -> None:
    assert [line.tolist() for line in polylines("M0 0L1 0m1 1l1 0")] == [[0, 1], [2 + 1j, 3 + 1j]]


@pytest.mark.parametrize("path", ["M10,20C30,40 50,-10 70,20", "M10 20c20 20 40 -30 60 0"])
def test_a_cubic_curve_is_bernsteins_sum(path: str) -> None:
    (line,) = polylines(path)
    control = np.array([10 + 20j, 30 + 40j, 50 - 10j, 70 + 20j])
    t = np.linspace(0, 1, len(line))
    expected = control @ np.array([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    np.testing.assert_allclose(line, expected, atol=1e-12)
    assert np.abs(np.diff(line)).max() < 2.5


def test_smooth_curves_mirror_the_last_control_point() -> None:
    (smooth,) = polylines("M0 0C0 10 10 10 10 0S20 -10 20 0")
    (written,) = polylines("M0 0C0 10 10 10 10 0C10 -10 20 -10 20 0")
    np.testing.assert_allclose(smooth, written, atol=1e-12)
    (quadratic,) = polylines("M0 0Q5 10 10 0T20 0")
    (spelled,) = polylines("M0 0Q5 10 10 0Q15 -10 20 0")
    np.testing.assert_allclose(quadratic, spelled, atol=1e-12)
    (alone,) = polylines("M0 0L1 0S20 -10 20 0")  # no curve before: the first control point is the current point
    (as_curve,) = polylines("M0 0L1 0C1 0 20 -10 20 0")
    np.testing.assert_allclose(alone, as_curve, atol=1e-12)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("L1 2", "should begin with M, got L"),
        ("M1", "lacks numbers of M at its end"),
        ("M1 2 C1 2 3", "lacks numbers of C at its end"),
        ("M1 2 L L3 4", "lacks numbers of L before L"),
        ("M0 0 A1 1 0 0 0 2 2", "got A"),
        ("M0 0 Z 3", "a number without a command, 3"),
        ("M1 2 # 3", "commands and numbers"),
        ("M1 1e999", "finite, got 1e999"),
    ],
)
def test_what_is_no_path_is_named(path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        polylines(path)


def distance(point: complex, line: np.ndarray) -> float:
    """To the nearest of 200 points of each piece of a polyline."""
    t = np.linspace(0, 1, 200)[:, None]
    return float(np.abs((1 - t) * line[:-1] + t * line[1:] - point).min())


@given(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(-20, 20)), min_size=2, max_size=25),
    st.sampled_from([0.5, 2.0, 7.0]),
)
def test_removed_points_stay_within_the_tolerance(points: list[tuple[int, int]], tolerance: float) -> None:
    line = np.array([complex(*point) for point in points])
    fewer = simplified(line, tolerance)
    assert fewer[0] == line[0]
    assert fewer[-1] == line[-1]
    assert set(fewer.tolist()) <= set(line.tolist())
    assert all(distance(point, fewer) <= tolerance + 0.15 for point in line)


def test_points_on_a_line_go_and_corners_stay() -> None:
    line = np.array([0, 1, 2, 3, 3 + 1j, 3 + 2j, 3 + 3j], dtype=complex)
    assert simplified(line, 0.01).tolist() == [0, 3, 3 + 3j]
    assert simplified(np.array([1j]), 1.0).tolist() == [1j]
    assert simplified(np.array([0, 5, 0], dtype=complex), 1.0).tolist() == [0, 5, 0]  # there and back
