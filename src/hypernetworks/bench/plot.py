"""The measurements as a plot, with matplotlib (the extra `plot`): ratios to nn.LSTM as bars, curves as lines."""

import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypernetworks.bench.implementations import is_torch
from hypernetworks.bench.measurements import Group, Measurement
from hypernetworks.bench.sizes import DESCRIPTIONS, QUANTITIES
from hypernetworks.bench.table import MB, MS

COLOURS = {
    "native": "#1f6fb4",
    "compiled": "#56a3a6",
    "reference": "#9ecae1",
    "step float32": "#1b7837",
    "step bfloat16": "#5aae61",
    "step int8": "#a6dba0",
    "labml_nn": "#e6892e",
    "jax": "#7a5aa6",
    "products": "#b0b0b0",
    "nn.LSTM": "#333333",
    "nn.GRU": "#6d6d6d",
    "nn.RNN": "#9a9a9a",
}
"""The colour of each implementation. A cell has the colour of its network."""

BAR, GAP = 0.19, 0.6
"""Inches from one bar to the next, and the gap between two networks in bars."""
NOTE = 0.36
"""The fraction of a panel's width reserved for the numbers next to the bars."""
AXES = {"T": "T, time steps", "B": "B, batch", "H": "H = I, hidden and input size"}

Panel = list[Measurement]


class PanelRow(NamedTuple):
    """A row of panels: there is room for `width` of them; `inches` is the height, and `draw` draws one panel."""

    panels: list[Panel]
    width: int
    inches: float
    draw: Callable[[Any, Panel], None]


def draw(measurements: Sequence[Measurement], title: str) -> str:
    """Draw an SVG: for each quantity one panel of bars per size, then the curves of each network.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    rows = [*_rows_of_bars(measurements), *_rows_of_curves(measurements)]
    heights = [row.inches for row in rows]
    canvas = Canvas(figsize=(15, 0.4 + sum(heights)), layout="constrained")
    parts = canvas.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        places = part.subplots(1, row.width, squeeze=False)[0]
        for axes, panel in zip(places, row.panels, strict=False):
            row.draw(axes, panel)
        for axes in places[len(row.panels) :]:
            axes.set_axis_off()
    canvas.suptitle(title, fontsize=9)
    FigureCanvasSVG(canvas)
    svg = io.StringIO()
    with rc_context({"svg.hashsalt": "hypernetworks"}):  # equal measurements give an identical file
        canvas.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()


def _together(measurements: Sequence[Measurement], key: Callable[[Measurement], Any]) -> list[Panel]:
    """Group measurements by a key, in the order in which the keys first occur."""
    groups: dict[Any, Panel] = {}
    for measurement in measurements:
        groups.setdefault(key(measurement), []).append(measurement)
    return list(groups.values())


def _rows_of_bars(measurements: Sequence[Measurement]) -> list[PanelRow]:
    rows = []
    for quantity in QUANTITIES:
        those = [
            measurement
            for measurement in measurements
            if measurement.quantity == quantity and measurement.size.axis is None
        ]
        if panels := _together(those, lambda measurement: measurement.size):
            inches = 1.0 + BAR * max(_bars(panel)[-1].y + 1 for panel in panels)
            rows.append(PanelRow(panels, max(2, len(panels)), inches, _draw_bars))
    return rows


def _rows_of_curves(measurements: Sequence[Measurement]) -> list[PanelRow]:
    along = [measurement for measurement in measurements if measurement.size.axis is not None]
    networks = _together(along, lambda measurement: measurement.network)
    by_axis = [
        _together(those, lambda measurement: (measurement.size.axis, measurement.quantity)) for those in networks
    ]
    return [PanelRow(panels, len(panels), 3.1, _draw_curves) for panels in by_axis]


class Bar(NamedTuple):
    """A bar of a panel at height y. Its ratio is None if the implementation was not measured."""

    y: float
    label: str
    ratio: float | None
    colour: str
    note: str


def _bars(panel: Panel) -> list[Bar]:
    """A bar for each measurement except nn.LSTM's, network by network."""
    bars: list[Bar] = []
    y = 0.0
    for those in _together(panel, lambda measurement: measurement.network):
        group = Group(those)
        for measurement in those:
            if measurement.implementation.startswith("nn.LSTM"):
                continue
            ratio = group.to(measurement, "nn.LSTM")
            note = "not measured" if ratio is None else f"{ratio:.2f}×  {_amount(measurement)}"
            colour = _colour(measurement.implementation)
            bars.append(Bar(y, f"{measurement.network} · {measurement.implementation}", ratio, colour, note))
            y += 1
        y += GAP
    return bars


def _colour(implementation: str) -> str:
    return COLOURS[implementation.removesuffix(" cell").removesuffix("Cell")]


def _amount(measurement: Measurement) -> str:
    scale, unit = _unit(measurement)
    value = min(measurement.values) * scale
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def _unit(measurement: Measurement) -> tuple[float, str]:
    return (MB, "MB") if measurement.quantity == "memory" else (MS, "ms")


def _draw_bars(axes: Any, panel: Panel) -> None:
    """Ratios on a logarithmic axis. Bars start at 1 and extend to the right if nn.LSTM takes less, else to the left."""
    bars = _bars(panel)
    for bar in bars:
        end = 1.0 if bar.ratio is None else bar.ratio
        axes.barh(bar.y, end - 1, left=1, height=0.8, color=bar.colour)
        place = (max(end, 1), bar.y)
        axes.annotate(bar.note, place, (3, 0), textcoords="offset points", va="center", fontsize=6.5)
    ratios = [bar.ratio for bar in bars if bar.ratio is not None]
    least, most = min([1.0, *ratios]) * 0.9, max([1.6, *ratios])
    axes.set_xscale("log")
    axes.set_xlim(least, least * (most / least) ** (1 / (1 - NOTE)))
    axes.set_ylim(bars[-1].y + 0.7, -0.7)
    axes.axvline(1, color=COLOURS["nn.LSTM"], linewidth=1)
    axes.set_yticks([bar.y for bar in bars], [bar.label for bar in bars], fontsize=7)
    axes.tick_params(axis="y", length=0)
    steps = (0.5, 1, 2, 5, 10, 20) if most / least < 40 else (0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
    ticks = [step for step in steps if least <= step <= most]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks], fontsize=7)
    axes.set_xticks([], minor=True)
    axes.set_title(f"{DESCRIPTIONS[panel[0].quantity]}, over nn.LSTM's\n{panel[0].size}", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: Any, panel: Panel) -> None:
    """One line per implementation, on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    size, axis = panel[0].size, panel[0].size.axis
    assert axis is not None
    scale, unit = _unit(panel[0])
    for points in _together(
        [measurement for measurement in panel if measurement.values], lambda measurement: measurement.implementation
    ):
        x = [getattr(measurement.size, axis) for measurement in points]
        y = [min(measurement.values) * scale for measurement in points]
        name = points[0].implementation
        style = "--" if name == "products" or is_torch(name) else "-"
        axes.plot(x, y, style, color=_colour(name), marker="o", markersize=3, linewidth=1.3, label=name)
    numbers = sorted({getattr(measurement.size, axis) for measurement in panel})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
    fixed = [letter for letter in "TBIHKZ" if letter != axis and (axis, letter) != ("H", "I")]
    numbers = ", ".join(f"{letter} {getattr(size, letter)}" for letter in fixed)
    axes.set_title(f"{panel[0].network}, {DESCRIPTIONS[panel[0].quantity]}\n{numbers}", fontsize=8)
    axes.set_xlabel(AXES[axis], fontsize=8)
    axes.set_ylabel(unit, fontsize=8)
    axes.legend(fontsize=6.5)
