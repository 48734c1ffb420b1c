"""Reads one's own strokes from JSON.

    [[[[x, y], …], …], …]         a list of drawings, each a list of strokes, each a list of points; y points down

A drawing is centred on the middle of its bounding box. Strokes are simplified with a tolerance of `TOLERANCE` of the longest
side of all drawings: a mouse gives many more points than a model needs.
"""

import json
from typing import Any, Final

import numpy as np
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.strokes.drawings import Drawings, Stroke, check_offsets, offsets_of
from hypernetworks.strokes.simplify import coordinates, simplified

__all__ = ["TOLERANCE", "beginning_of", "read_beginning", "read_own_strokes"]

TOLERANCE: Final = 0.0073


def read_own_strokes(content: bytes, place: str) -> Drawings:
    """The drawings of a JSON file.

    Raises:
        UsageError: it is not such a file, or a drawing is empty, has one point, or a coordinate that is no finite number.
    """
    given = _parsed(content, place)
    if not isinstance(given, list) or not given:
        raise UsageError(f"{place}: should be a list of drawings, each a list of strokes, each a list of [x, y]")
    drawings = [_strokes(drawing, f"{place}, drawing {number}") for number, drawing in enumerate(given)]
    boxes = [(np.concatenate(strokes).min(0), np.concatenate(strokes).max(0)) for strokes in drawings]
    tolerance = TOLERANCE * max((high - low).max() for low, high in boxes)
    parts = []
    for number, (strokes, (low, high)) in enumerate(zip(drawings, boxes, strict=True)):
        fewer = [_simplified(stroke, tolerance) for stroke in strokes]
        offsets, lifted = offsets_of(fewer, (low + high) / 2)
        check_offsets(offsets.numpy(), lifted.numpy(), f"{place}, drawing {number}")
        parts.append((offsets, lifted))
    return Drawings.of(parts, [f"drawing {number}" for number in range(len(parts))])


def read_beginning(content: bytes, place: str, side: float, size: float, unfinished: bool) -> tuple[Tensor, Tensor]:
    """The beginning of a drawing from a JSON file with one drawing, see `beginning_of`."""
    return beginning_of(_strokes(_parsed(content, place), place), side, size, unfinished)


def beginning_of(strokes: list[Stroke], side: float, size: float, unfinished: bool) -> tuple[Tensor, Tensor]:
    """Strokes on a square as the beginning of a drawing: offsets and lifted, in the unit of the data.

    Args:
        strokes: on a square with its corner at (0, 0).
        side: the side of this square.
        size: the side of the square of the data.
        unfinished: whether the pen is still down after the last point.
    """
    fewer = [(_simplified(stroke, TOLERANCE * side) / side - 0.5) * size for stroke in strokes]
    offsets, lifted = offsets_of(fewer, (0, 0))
    lifted[-1] = not unfinished
    return offsets, lifted


def _parsed(content: bytes, place: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: is not JSON: {error}") from error


def _strokes(drawing: Any, place: str) -> list[Stroke]:
    if not isinstance(drawing, list) or not drawing:
        raise UsageError(f"{place}: should be a list of strokes, got {json.dumps(drawing)[:40]}")
    made = []
    for stroke in drawing:
        match stroke:
            case [_, *_] if all(_is_point(point) for point in stroke):
                made.append(np.array(stroke, dtype=np.float64))
            case _:
                raise UsageError(
                    f"{place}: a stroke should be a list of points [x, y] of finite numbers, got {json.dumps(stroke)[:40]}"
                )
    return made


def _is_point(point: Any) -> bool:
    match point:
        case [x, y]:
            return all(
                isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6 for value in (x, y)
            )
    return False


def _simplified(stroke: Stroke, tolerance: float) -> Stroke:
    return coordinates(simplified(stroke[:, 0] + 1j * stroke[:, 1], tolerance))
