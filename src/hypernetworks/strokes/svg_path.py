"""Paths of SVG files as polylines. A point is a complex number, x + iy.

A path is a list of commands: M moves, L H V draw lines, C S cubic and Q T quadratic Bézier curves, Z closes; a lower-case
command is relative to the current point. A cubic curve with control points P0 … P3 is

    B(t) = (1 − t)³ P0 + 3 (1 − t)² t P1 + 3 (1 − t) t² P2 + t³ P3

It is replaced by chords that are about `CHORD` units of the picture long.

Source: Scalable Vector Graphics 2, chapter 9, W3C.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from math import ceil, comb, isfinite
from typing import Final

import numpy as np

from hypernetworks.errors import UsageError

__all__ = ["polylines"]

CHORD: Final = 1.0
"""The length of a curve's control polygon that gets one chord, in units of the picture."""

_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TOKEN = re.compile(rf"[A-Za-z]|{_NUMBER}")
_PATH = re.compile(rf"(?:[\s,]*(?:[A-Za-z]|{_NUMBER}))*\s*")
_ARGUMENTS: Final = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}


def polylines(path: str) -> list[np.ndarray]:
    """The polylines of a path, one for each M, each (points,), complex.

    Raises:
        UsageError: the path does not follow the grammar, does not begin with M, or has an elliptical arc (A).
    """
    made: list[list[Sequence[complex] | np.ndarray]] = []
    here = start = control = 0j  # the current point, the first one, and the last control point
    curve = ""  # the kind of curve that it belongs to
    for letter, numbers in _commands(path):
        kind, origin = letter.upper(), here if letter.islower() else 0j
        if kind == "M":
            here = start = origin + complex(*numbers)
            made.append([[here]])
        elif not made:
            raise UsageError(f"a path should begin with M, got {letter}")
        elif kind in "CSQT":
            points = [here, *(origin + complex(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=True))]
            if kind in "ST":  # the first control point mirrors the last one of a curve of the same kind
                points.insert(1, 2 * here - control if curve == {"S": "C", "T": "Q"}[kind] else here)
            made[-1].append(_curve(points))
            control, here = points[-2:]
        else:
            match kind:
                case "Z":
                    here = start
                case "H":
                    here = complex(origin.real + numbers[0], here.imag)
                case "V":
                    here = complex(here.real, origin.imag + numbers[0])
                case _:
                    here = origin + complex(*numbers)
            made[-1].append([here])
        curve = {"S": "C", "T": "Q"}.get(kind, kind)
    return [np.concatenate(parts) for parts in made]


def _commands(path: str) -> Iterator[tuple[str, list[float]]]:
    """Each command with its numbers. Repeated arguments repeat the command; after M, they are those of L."""
    if not _PATH.fullmatch(path):
        raise UsageError(f"a path should consist of commands and numbers, got {path[:40]!r}")
    letter, needed, numbers = "", 0, []
    complete = True  # whether the command has all its numbers, once or several times
    for token in _TOKEN.findall(path):
        if token.isalpha():
            if numbers or not complete:
                raise UsageError(f"a path lacks numbers of {letter} before {token}")
            if token.upper() not in _ARGUMENTS:
                raise UsageError(f"a path should have commands of {' '.join(_ARGUMENTS)}, got {token}")
            letter, needed, complete = token, _ARGUMENTS[token.upper()], False
        elif not needed:
            raise UsageError(f"a path has a number without a command, {token}")
        else:
            numbers.append(float(token))
            if not isfinite(numbers[-1]):
                raise UsageError(f"the numbers of a path should be finite, got {token}")
        if len(numbers) == needed:
            yield letter, numbers
            numbers, complete = [], True
            letter = {"M": "L", "m": "l"}.get(letter, letter)
    if numbers or not complete:
        raise UsageError(f"a path lacks numbers of {letter} at its end")


def _curve(points: Sequence[complex]) -> np.ndarray:
    """A Bézier curve with these 3 or 4 control points, without its first point."""
    length = sum(abs(b - a) for a, b in pairwise(points))
    return _bernstein(len(points) - 1, max(1, ceil(length / CHORD))) @ np.array(points)


@cache
def _bernstein(degree: int, pieces: int) -> np.ndarray:
    """The weights of the control points at t = 1/pieces, 2/pieces, …, 1: (pieces, degree + 1)."""
    t = np.arange(1, pieces + 1)[:, None] / pieces
    k = np.arange(degree + 1)
    return np.array([comb(degree, n) for n in k]) * t**k * (1 - t) ** (degree - k)
