"""Learning curves as SVG, drawn with matplotlib (the extra `plot`)."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_low
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
    top: float = float("inf"),
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
        top: where the y axis ends, unless all points are below. Points above the picture are marked by triangles at its
            upper edge, and the legend names their curves.
        xlabel: the label of the x axis.
        caption: a text below the picture.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    literal = str.maketrans({"$": r"\$"})  # names are not formulas
    lows = [y for some in (curves, faint or {}) for curve in some.values() for _, y in curve]
    highs = [y for curve in (faint or {}).values() for _, y in curve]
    top = min(top, max(highs, default=top))
    for number, (name, curve) in enumerate(curves.items()):
        colour = f"C{number}"
        behind = (faint or {}).get(name, ())
        if behind:
            axes.plot(*zip(*behind, strict=True), color=colour, alpha=0.25, linewidth=1)
        if band := (bands or {}).get(name, ()):
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if curve:
            above = [x for x, y in curve if y > 1.05 * top]
            outside = f"  ({'' if len(above) == len(curve) else 'partly '}above the picture)" if above else ""
            label = f"{name.translate(literal)}  {curve[-1][1]:.3f}{outside}"
            axes.plot(*zip(*curve, strict=True), color=colour, marker="o", markersize=3, label=label)
            if above:
                axes.plot(above, [1.05 * top] * len(above), "^", color=colour, markersize=6, clip_on=False)
    if highs or any(y > top for curve in curves.values() for _, y in curve):
        axes.set_ylim(0.95 * min(lows), 1.05 * top)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title.translate(literal))
    axes.grid(alpha=0.3)
    axes.legend()
    if caption:
        figure.supxlabel(fill(caption.translate(literal), 110), x=0.02, ha="left", fontsize=8, color="0.3")
    return svg_of(figure)


def highest_shown(curves: Iterable[Curve]) -> float:
    """Where a picture of some runs' curves should end: one that is far above the others would flatten them.

    It is the highest of the curves' highest scores that is at most 1.5 times their median.
    """
    highest = [max(y for _, y in curve) for curve in curves if curve]
    return max(y for y in highest if y <= 1.5 * median_low(highest))


def svg_of(figure: "Figure") -> str:
    """A matplotlib figure as SVG. Equal figures give equal files.

    Letters are paths, so that the picture looks the same everywhere. If matplotlib's font lacks one, as it lacks Chinese, they
    are text, and the viewer's fonts are used.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    FigureCanvasSVG(figure)
    picture = io.StringIO()
    letters = "none" if _lacks_glyphs(figure) else "path"
    with rc_context({"svg.hashsalt": "hypernetworks", "svg.fonttype": letters}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def _lacks_glyphs(figure: "Figure") -> bool:
    """Whether the font of some text has no picture of one of its characters."""
    from matplotlib.font_manager import findfont, get_font
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    fonts = {id(text): get_font(findfont(text.get_fontproperties())) for text in texts if not text.get_text().isascii()}
    return any(
        not fonts[id(text)].get_char_index(ord(character))
        for text in texts
        if id(text) in fonts
        for character in text.get_text()
        if not character.isspace()
    )


def run_curve(run: Run) -> str:
    """The training and validation loss of a run as SVG; ImportError if matplotlib is not installed."""
    rows = run.metrics()
    curves = {"validation": curve_of(rows, "validation_loss"), "training": curve_of(rows, "loss")}
    return draw(curves, "loss (nats)", run.folder.name)


def draw_run(run: Run) -> None:
    """Write `curve.svg` of a run; ImportError if matplotlib is not installed."""
    run.write_text("curve.svg", run_curve(run))
