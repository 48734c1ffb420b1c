"""Fewer points for a polyline: Ramer, Douglas and Peucker.

The chord from the first to the last point replaces all points between them if none is farther from it than the tolerance. Else
the farthest one is kept, and both halves are treated alike. A point is a complex number.

    w = (p − a) / (b − a),   distance of p to the segment from a to b = |b − a| · |w − min(max(Re w, 0), 1)|

Source: Douglas and Peucker, "Algorithms for the reduction of the number of points required to represent a digitized line or its
caricature", Cartographica 10 (1973).
"""

import numpy as np

__all__ = ["coordinates", "simplified"]


def simplified(line: np.ndarray, tolerance: float) -> np.ndarray:
    """The points of a polyline (points,) that keep every removed point within `tolerance` of the rest: (fewer,)."""
    kept = np.zeros(len(line), dtype=bool)
    kept[[0, -1]] = True
    parts = [(0, len(line) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        distances = _distances(line[first + 1 : last], line[first], line[last])
        farthest = int(distances.argmax())
        if distances[farthest] > tolerance:
            middle = first + 1 + farthest
            kept[middle] = True
            parts += [(first, middle), (middle, last)]
    return line[kept]


def coordinates(line: np.ndarray) -> np.ndarray:
    """The points of a polyline (points,) as pairs of real numbers, (points, 2)."""
    return np.stack([np.real(line), np.imag(line)], axis=1)


def _distances(points: np.ndarray, start: complex, end: complex) -> np.ndarray:
    """The distance of each point to the segment from start to end."""
    chord = end - start
    if chord == 0:
        return np.abs(points - start)
    w = (points - start) / chord
    return abs(chord) * np.abs(w - np.minimum(np.maximum(w.real, 0), 1))
