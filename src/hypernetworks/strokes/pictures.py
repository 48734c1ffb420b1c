"""Pictures of drawings: a grid as SVG, still or drawn stroke by stroke, or as PNG.

A line from one point to the next is coloured by how much the weights changed in the step that drew the second point, relative
to the weights, as in the paper's figure of handwriting (arXiv 1609.09106). Drawings of networks with fixed weights are black.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Final, NamedTuple

import numpy as np
import torch

from hypernetworks.strokes.generate import Drawn

__all__ = ["Canvas", "full_colour", "grid", "grid_png", "levels"]

CELL: Final = 100.0
"""The side of the cell of a drawing."""
MARGIN: Final = 4.0
SPEED: Final = 120.0
"""Units of a cell that the pen of an animation moves in a second."""

FULL_COLOUR: Final = 0.95
"""Changes from this quantile of all up get the full colour."""

_LIGHT: Final = ("#1f2328", "#5c3320", "#8f4318", "#c25311", "#f0640a")
_DARK: Final = ("#e6edf3", "#e9cfb2", "#edb077", "#f29540", "#ff7b1a")
_GIVEN: Final = ("#6b7785", "#8b98a6")
_LEVELS: Final = len(_LIGHT)


@dataclass(frozen=True)
class Canvas:
    """What a picture needs to know of the data.

    Example:
        >>> from hypernetworks.strokes import Canvas, grid
        >>> grid([], Canvas(size=109.0)).startswith("<svg")
        True
    """

    size: float
    """The side of the square around the pen's start that is shown."""
    attribution: str = ""
    """What the picture says about the source of the data."""


class Line(NamedTuple):
    """A line of the pen within a cell, from its first to its last point, with one colour."""

    points: np.ndarray
    """(points, 2), in units of the picture."""
    style: str
    """given, or c0 … c4 from unchanged to strongly changed weights."""
    start: float
    """The length of the pen's way before this line, in the air and on paper."""


def levels(drawn: Sequence[Drawn]) -> list[list[int]]:
    """The colour of each point of each drawing, from 0 to 4: the mean change over the gates, the same scale for all."""
    full = full_colour(drawn)
    return [
        (drawing.changes.mean(dim=1) / full * _LEVELS).long().clamp(0, _LEVELS - 1).tolist()
        if full > 0 and drawing.changes.shape[1]
        else [0] * len(drawing.lifted)
        for drawing in drawn
    ]


def full_colour(drawn: Sequence[Drawn]) -> float:
    """The mean change over the gates that gets the full colour; 0 if no weights change."""
    changes = [drawing.changes[drawing.given :].mean(dim=1) for drawing in drawn if drawing.changes.shape[1]]
    return torch.cat(changes).quantile(FULL_COLOUR).item() if sum(map(len, changes)) else 0.0


def grid(drawn: Sequence[Drawn], canvas: Canvas, columns: int = 5, animate: bool = False) -> str:
    """The drawings in a grid, as an SVG file.

    Args:
        drawn: the drawings.
        canvas: what is shown of each, and the attribution.
        columns: drawings in a row.
        animate: draw them stroke by stroke, all at the same time. Viewers who prefer reduced motion see them complete.
    """
    columns = min(columns, max(1, len(drawn)))
    rows = math.ceil(len(drawn) / columns)
    width, height = columns * CELL, rows * CELL + (12 if canvas.attribution else 0)
    cells = [
        f'<g transform="translate({k % columns * CELL:g} {k // columns * CELL:g})">{"".join(_svg(lines, animate))}</g>'
        for k, lines in enumerate(_lines(drawn, canvas))
    ]
    foot = (
        f'<text x="{width / 2:g}" y="{height - 3:g}" text-anchor="middle">{escape(canvas.attribution)}</text>'
        if canvas.attribution
        else ""
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{len(drawn)} drawings of a model">\n<style>{_style(animate)}</style>\n'
        + "\n".join(cells)
        + f"\n{foot}</svg>\n"
    )


def grid_png(drawn: Sequence[Drawn], canvas: Canvas, columns: int = 5) -> bytes:
    """The drawings in a grid, as a PNG file on white; ImportError without matplotlib."""
    from matplotlib.figure import Figure

    columns = min(columns, max(1, len(drawn)))
    rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(columns * 1.5, rows * 1.5 + 0.2), dpi=150)
    axes = figure.add_axes((0, 0.2 / (rows * 1.5 + 0.2), 1, rows * 1.5 / (rows * 1.5 + 0.2)))
    axes.set(xlim=(0, columns * CELL), ylim=(rows * CELL, 0), aspect="equal")
    axes.axis("off")
    colours = {f"c{level}": colour for level, colour in enumerate(_LIGHT)} | {"given": _GIVEN[0]}
    for number, lines in enumerate(_lines(drawn, canvas)):
        corner = np.array([number % columns, number // columns]) * CELL
        for line in lines:
            axes.plot(*(line.points + corner).T, color=colours[line.style], linewidth=2, solid_capstyle="round")
    figure.text(0.5, 0.01, canvas.attribution, ha="center", va="bottom", fontsize=6)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _style(animate: bool) -> str:
    def colours(values: Sequence[str], given: str, text: str) -> str:
        classes = "".join(f".c{level}{{stroke:{colour}}}" for level, colour in enumerate(values))
        return f"{classes}.given{{stroke:{given}}}text{{fill:{text}}}"

    style = (
        "path{fill:none;stroke-width:2.2;stroke-linecap:round;stroke-linejoin:round}text{font:6px sans-serif}"
        + colours(_LIGHT, _GIVEN[0], "#57606a")
        + f"@media(prefers-color-scheme:dark){{{colours(_DARK, _GIVEN[1], '#9aa4ae')}}}"
    )
    if animate:
        style += (
            "@media(prefers-reduced-motion:no-preference){path{stroke-dasharray:1 2;stroke-dashoffset:1.1;"
            "animation:write linear forwards}}@keyframes write{to{stroke-dashoffset:0}}"
        )
    return style


def _lines(drawn: Sequence[Drawn], canvas: Canvas) -> list[list[Line]]:
    """The lines of each drawing. Neighbouring lines of one colour are one."""
    made = []
    for drawing, colours in zip(drawn, levels(drawn), strict=True):
        places = drawing.offsets.double().cumsum(0).numpy()
        size = max(canvas.size, 2 * np.abs(places).max(initial=0.0))  # one that leaves the square is made smaller
        made.append(_lines_of(places * (CELL - 2 * MARGIN) / size + CELL / 2, drawing, colours))
    return made


def _lines_of(places: np.ndarray, drawing: Drawn, colours: Sequence[int]) -> list[Line]:
    lines: list[Line] = []
    moved = np.hypot(*np.diff(places, axis=0, prepend=places[:1]).T).cumsum() if len(places) else places
    first = True  # whether the point begins a stroke
    for number, lifted in enumerate(drawing.lifted.tolist()):
        style = "given" if number < drawing.given else f"c{colours[number]}"
        if first:
            lines.append(Line(places[number : number + 1], style, float(moved[number])))
        elif lines[-1].style == style or len(lines[-1].points) == 1:
            lines[-1] = Line(np.vstack([lines[-1].points, places[number]]), style, lines[-1].start)
        else:
            lines.append(Line(places[number - 1 : number + 1], style, float(moved[number - 1])))
        first = lifted
    return lines


def _svg(lines: Sequence[Line], animate: bool) -> Iterator[str]:
    for line in lines:
        (x, y), *rest = np.round(line.points, 1).tolist()
        # a stroke of one point is a dot: a line of no length with round ends
        path = f"M{x:g} {y:g}" + "".join(f"L{x:g} {y:g}" for x, y in rest or [(x, y)])
        timing = ""
        if animate:
            length = float(np.hypot(*np.diff(line.points, axis=0).T).sum())
            seconds = max(length / SPEED, 0.02)
            timing = (
                f' pathLength="1" style="animation-duration:{seconds:.2f}s;animation-delay:{line.start / SPEED:.2f}s"'
            )
        yield f'<path class="{line.style}" d="{path}"{timing}/>'
