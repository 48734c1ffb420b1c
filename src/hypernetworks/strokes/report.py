"""The report of a run of the strokes experiment: experiments/report.py with drawings coloured by weight change."""

from collections.abc import Sequence
from dataclasses import replace

from hypernetworks.experiments.report import Picture, ReportedRun, render, settings_table
from hypernetworks.strokes.experiment import STROKES, canvas_of
from hypernetworks.strokes.generate import Sampling, draw
from hypernetworks.strokes.pictures import full_colour, grid

__all__ = ["page"]

TEMPERATURES = (0.1, 0.4, 0.8)
"""A row of drawings is shown at each of these but the temperature of the sampling settings, which has a picture of its own."""


def page(runs: Sequence[ReportedRun], sampling: Sampling) -> str:
    """Make the page of the first run, compared with the others.

    Args:
        runs: the runs, at least one.
        sampling: how to draw.
    """
    first = runs[0]
    canvas, scale = canvas_of(first.record), first.record["scale"]
    shown = draw(first.model, sampling, scale)
    drawings = [Picture(f"Temperature {sampling.temperature:g}", grid(shown, canvas, columns=5))]
    for temperature in (other for other in TEMPERATURES if other != sampling.temperature):
        row = draw(first.model, replace(sampling, count=8, temperature=temperature), scale)
        drawings.append(Picture(f"The first eight at temperature {temperature:g}", grid(row, canvas, columns=8)))
    full = full_colour(shown)
    step = first.run.best_model()[1]["step"]
    facts = {
        "best validation": f"{first.best:.4f} nats a point (step {step})",
        "parameters": f"{first.figures['parameters']:,}",
        "training speed": f"{first.figures['points_per_second']:,.0f} points per second",
    }
    return render(
        STROKES,
        "strokes/report.html",
        runs,
        facts,
        drawings=drawings,
        moves=full > 0,
        full=full,
        sampling=settings_table({"sampling": vars(sampling)}),
    )
