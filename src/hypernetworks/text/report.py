"""The report of a run of the text experiment: experiments/report.py with text coloured by weight change."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from hypernetworks.experiments.report import ReportedRun, render, settings_table
from hypernetworks.text.alphabet import symbol_name
from hypernetworks.text.coloured import Letter, coloured_sample, coloured_text, full_colour, gates_of
from hypernetworks.text.config import Symbols
from hypernetworks.text.experiment import TEXT, symbols_of
from hypernetworks.text.generate import Sampling


class Text(NamedTuple):
    """A text on the page."""

    title: str
    letters: Sequence[Letter]


def page(runs: Sequence[ReportedRun], sampling: Sampling, text: tuple[str, torch.Tensor] | None) -> str:
    """Make the page of the first run, compared with the others.

    Args:
        runs: the runs, at least one.
        sampling: how to draw the sample.
        text: the title and the symbol ids of a text to colour, or None.
    """
    first = runs[0]
    symbols = symbols_of(first.record)
    texts = [Text("A sample of the model", coloured_sample(first.model, symbols, sampling))]
    if text is not None:
        texts.append(Text(text[0], coloured_text(first.model, symbols, text[1])))
    return render(
        TEXT,
        "text/report.html",
        runs,
        _facts(first, symbols),
        gates=gates_of(first.model),
        full=full_colour(letter for text in texts for letter in text.letters),
        texts=texts,
        sampling=settings_table({"sampling": vars(sampling)}),
    )


def _facts(reported: ReportedRun, symbols: Symbols) -> Mapping[str, str]:
    metadata = reported.run.best_model()[1]
    figures, unit = reported.figures, symbol_name(symbols.unit)
    scored = "character" if symbols.unit == "word" else unit
    return {
        "best validation": f"{reported.best:.3f} bits per {scored} (step {metadata['step']})",
        "parameters": f"{figures['parameters']:,}",
        f"operations per {unit}": f"{figures['flops_per_character']:,}",
        "training speed": f"{figures['characters_per_second']:,.0f} {scored}s per second",
    }
