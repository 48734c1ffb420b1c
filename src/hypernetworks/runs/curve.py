"""Learning curves as SVG, drawn with matplotlib (the extra `plot`)."""

import io
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from hypernetworks.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]
"""Points (step, score)."""

Band = Sequence[tuple[float, float, float]]
"""Points (step, lowest, highest)."""


def curve_of(rows: Sequence[Mapping[str, Any]], name: str) -> Curve:
    """The points of one figure of a run's metrics."""
    return [(row["step"], row[name]) for row in rows if name in row]


def draw(
    curves: Mapping[str, Curve],
    ylabel: str,
    title: str,
    *,
    faint: Mapping[str, Curve] | None = None,
    bands: Mapping[str, Band] | None = None,
    xlabel: str = "step",
    caption: str = "",
) -> str:
    """Draw curves as SVG, one colour each, with the last value in the legend.

    Args:
        curves: the curves by name.
        ylabel: the label of the y axis.
        title: the title.
        faint: curves drawn faintly behind those of the same name. The y axis then ends at their highest point, so that a
            diverged validation leaves the picture instead of flattening it.
        bands: shaded areas around the curves of the same name.
        xlabel: the label of the x axis.
        caption: a text below the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    literal = str.maketrans({"$": r"\$"})  # names are not formulas
    for number, (name, curve) in enumerate(curves.items()):
        colour = f"C{number}"
        behind = (faint or {}).get(name, ())
        if behind:
            axes.plot(*zip(*behind, strict=True), color=colour, alpha=0.25, linewidth=1)
        if band := (bands or {}).get(name, ()):
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if curve:
            label = f"{name.translate(literal)}  {curve[-1][1]:.3f}"
            axes.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=label)
    lows = [y for some in (curves, faint or {}) for curve in some.values() for _, y in curve]
    highs = [y for curve in (faint or {}).values() for _, y in curve]
    if highs:
        axes.set_ylim(0.95 * min(lows), 1.05 * max(highs))
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title.translate(literal))
    axes.grid(alpha=0.3)
    axes.legend()
    if caption:
        figure.supxlabel(fill(caption.translate(literal), 110), x=0.02, ha="left", fontsize=8, color="0.3")
    return svg_of(figure)


def svg_of(figure: "Figure") -> str:
    """A matplotlib figure as SVG. Equal figures give equal files."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    picture = io.StringIO()
    with rc_context({"svg.hashsalt": "hypernetworks"}):
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def run_curve(run: Run) -> str:
    """The training and validation loss of a run as SVG; ImportError if matplotlib is not installed."""
    rows = run.metrics()
    curves = {"validation": curve_of(rows, "validation_loss"), "training": curve_of(rows, "loss")}
    return draw(curves, "loss (nats)", run.folder.name)


def draw_run(run: Run) -> None:
    """Write `curve.svg` of a run; ImportError if matplotlib is not installed."""
    run.write_text("curve.svg", run_curve(run))
