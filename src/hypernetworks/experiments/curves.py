"""Learning curves of several runs: against steps, operations and seconds, with bands over seeds, and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, NamedTuple

from hypernetworks.runs.curve import Band, Curve, draw

__all__ = ["Point", "csv_of", "draw_all", "points"]


class Point(NamedTuple):
    """One validation of a run."""

    step: int
    seconds: float
    """Of training until this step; validation does not count."""
    flops: float
    """Floating-point operations of training until this step."""
    value: float


AXES: Mapping[str, tuple[str, str]] = {
    "": ("step", "step"),
    "-flops": ("flops", "floating-point operations of training"),
    "-seconds": ("seconds", "seconds of training"),
}
"""The pictures by the end of their file name: the field of a point, and the label of the axis."""


def points(rows: Sequence[Mapping[str, Any]], name: str, flops_per_step: float) -> list[Point]:
    """The validations in a run's metrics. The time of a step that has no line of its own yet is that of the line before."""
    found, seconds = [], 0.0
    for row in rows:
        seconds += row.get("seconds", 0.0)
        if name in row:
            found.append(Point(row["step"], round(seconds, 3), row["step"] * flops_per_step, row[name]))
    return found


def draw_all(
    curves: Mapping[str, Sequence[Sequence[Point]]],
    ylabel: str,
    title: str,
    faint: Mapping[str, Curve] | None = None,
    caption: str = "",
) -> dict[str, str]:
    """The mean curves of variants, each a list of runs, with bands from the lowest to the highest run: SVG by file name's end.

    Only what all runs of a variant have reached is drawn. Without operations there is no picture of them. Faint curves are
    drawn against steps only.

    Raises:
        ImportError: matplotlib is not installed.
    """
    made = {}
    for end, (axis, label) in AXES.items():
        means: dict[str, Curve] = {}
        bands: dict[str, Band] = {}
        for variant, runs in curves.items():
            same = list(zip(*runs, strict=False))
            x = [mean(getattr(point, axis) for point in seeds) for seeds in same]
            values = [[point.value for point in seeds] for seeds in same]
            means[variant] = [(at, mean(found)) for at, found in zip(x, values, strict=True)]
            if len(runs) > 1:
                bands[variant] = [(at, min(found), max(found)) for at, found in zip(x, values, strict=True)]
        if any(at for curve in means.values() for at, _ in curve):
            behind = None if end else faint
            made[end] = draw(means, ylabel, title, faint=behind, bands=bands, xlabel=label, caption=caption)
    return made


def csv_of(curves: Mapping[str, Mapping[int, Sequence[Point]]], name: str) -> str:
    """All points of variants and their seeds as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", "step", "seconds", "flops", name])
    for variant, runs in curves.items():
        for seed, run in runs.items():
            writer.writerows((variant, seed, *point) for point in run)
    return text.getvalue()
