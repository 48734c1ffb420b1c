"""A run as one self-contained HTML page: curves, settings, parameters, other runs, and text coloured by weight change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, StrictUndefined
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.experiments.comparison import figures_of
from hypernetworks.runs.curve import curve_of, draw, highest_shown, run_curve
from hypernetworks.runs.run import Run
from hypernetworks.text.coloured import Letter, coloured_sample, coloured_text, full_colour, gates_of
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.experiment import TEXT, symbols_of
from hypernetworks.text.generate import Sampling
from hypernetworks.text.model import CharacterModel


class Text(NamedTuple):
    """A text on the page."""

    title: str
    letters: Sequence[Letter]


class Picture(NamedTuple):
    """A picture on the page: a description, and its SVG element."""

    title: str
    svg: str


class Table(NamedTuple):
    """A table on the page, with its cells as text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Loaded:
    """A run loaded from its folder."""

    run: Run
    model: CharacterModel
    config: TextConfig
    symbols: Symbols
    figures: dict[str, float]
    """As in a comparison: parameters, operations, speed."""
    bpc: float
    """The best validation, in bits per character."""

    @property
    def name(self) -> str:
        """The folder as given; two runs may have the same folder name."""
        return str(self.run.folder)


def load(folder: Path, device: torch.device) -> Loaded:
    """Load a run for the page.

    Raises:
        UsageError: the folder holds no run of the text experiment, or one that was not validated yet.
    """
    model, config, record = TEXT.load(folder)
    run = Run.open(folder)
    rows = run.metrics()
    for figure in ("loss", "validation_bpc"):
        if not curve_of(rows, figure):
            raise UsageError(f"{folder}: metrics.jsonl has no {figure}: was the run interrupted before its first?")
    figures = figures_of(TEXT, config, record, [run])
    bpc = min(value for _, value in curve_of(rows, "validation_bpc"))
    return Loaded(run, model.to(device), config, symbols_of(record), figures, bpc)


def page(runs: Sequence[Loaded], sampling: Sampling, text: tuple[str, torch.Tensor] | None) -> str:
    """Make the page of the first run, compared with the others.

    Args:
        runs: the runs, at least one.
        sampling: how to draw the sample.
        text: the title and the symbol ids of a text to colour, or None.

    Without matplotlib the page has no curves, and says so.
    """
    first = runs[0]
    texts = [Text("A sample of the model", coloured_sample(first.model, first.symbols, sampling))]
    if text is not None:
        texts.append(Text(text[0], coloured_text(first.model, first.symbols, text[1])))
    gates = gates_of(first.model)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.globals["percent"] = lambda change: f"{100 * change:.3g} %"
    template = environment.from_string(files("hypernetworks.text").joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        name=first.name,
        network=first.config.model.network,
        facts=_facts(first),
        pictures=_pictures(runs),
        gates=gates,
        full=full_colour(letter for text in texts for letter in text.letters),
        texts=texts,
        sampling=_settings({"sampling": vars(sampling)}),
        comparison=_comparison(runs),
        settings=_settings(first.run.config["settings"] | {"versions": first.run.config.get("versions", {})}),
        parameters=_parameters(first.model),
    )


def _facts(loaded: Loaded) -> Mapping[str, str]:
    metadata = loaded.run.best_model()[1]
    figures, unit = loaded.figures, loaded.symbols.unit
    return {
        "best validation": f"{loaded.bpc:.3f} bits per {unit} (step {metadata['step']})",
        "parameters": f"{figures['parameters']:,}",
        f"operations per {unit}": f"{figures['flops_per_character']:,}",
        "training speed": f"{figures['characters_per_second']:,.0f} {unit}s per second",
    }


def _pictures(runs: Sequence[Loaded]) -> list[Picture]:
    """The curves of the first run and, if there are others, of all runs."""
    try:
        pictures = {"Training and validation loss over steps": run_curve(runs[0].run)}
        if len(runs) > 1:
            curves = {loaded.name: curve_of(loaded.run.metrics(), "validation_bpc") for loaded in runs}
            picture = draw(curves, "bits per character", "validation", top=highest_shown(curves.values()))
            pictures["Validation of all runs over steps"] = picture
    except ImportError:
        return []
    return [Picture(title, file[file.index("<svg") :]) for title, file in pictures.items()]


def _comparison(runs: Sequence[Loaded]) -> Table:
    rows = sorted(runs, key=lambda loaded: loaded.bpc)
    return Table(
        ("run", "network", "hidden", "parameters", "FLOPs/char", "chars/s", "bits/char"),
        [
            (
                loaded.name,
                loaded.config.model.network,
                *(f"{value:,.0f}" for value in loaded.figures.values()),
                f"{loaded.bpc:.3f}",
            )
            for loaded in rows
        ],
    )


def _settings(settings: Mapping[str, Any], above: str = "") -> Table:
    """One row per setting; nested settings have dotted names."""
    rows: list[Sequence[str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _settings(value, f"{above}{name}.").rows
        else:
            rows.append((above + name, str(value)))
    return Table(("setting", "value"), rows)


def _parameters(model: nn.Module) -> Table:
    """One row per parameter, each counted once, and the total."""
    named = list(model.named_parameters())
    total = sum(parameter.numel() for _, parameter in named)
    rows = [
        (name, " × ".join(map(str, parameter.shape)), f"{parameter.numel():,}", f"{parameter.numel() / total:.1%}")
        for name, parameter in named
    ]
    return Table(("parameter", "shape", "numbers", "share"), [*rows, ("all", "", f"{total:,}", "100.0%")])
