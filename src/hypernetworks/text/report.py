"""A run as one HTML page that needs nothing else: curves, settings, parameters, other runs, text coloured by weight change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, StrictUndefined
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.runs.curve import curve_of, draw, run_curve
from hypernetworks.runs.run import Run
from hypernetworks.text.coloured import Letter, coloured_sample, coloured_text, gates_of
from hypernetworks.text.compare import Row, row_of
from hypernetworks.text.config import Symbols, TextConfig
from hypernetworks.text.generate import Sampling
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.train import load_run

STRONGEST = 0.98
"""The quantile of the changes from which on a letter has the full colour: the few largest would leave the others pale."""


class Text(NamedTuple):
    """A text on the page."""

    title: str
    letters: Sequence[Letter]


class Picture(NamedTuple):
    """A picture on the page: what it shows in words, and its SVG element."""

    title: str
    svg: str


class Table(NamedTuple):
    """A table on the page, its cells as they are shown."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Loaded:
    """A run, read from its folder."""

    run: Run
    model: CharacterModel
    config: TextConfig
    symbols: Symbols
    row: Row

    @property
    def name(self) -> str:
        """The folder as it was given: names alone may be the same."""
        return str(self.run.folder)


def load(folder: Path, device: torch.device) -> Loaded:
    """A run for the page; UsageError where the folder is no run of a character model that was trained and validated."""
    model, config, symbols = load_run(folder)
    run = Run.open(folder)
    rows = run.metrics()
    for figure in ("loss", "validation_bpc"):
        if not curve_of(rows, figure):
            raise UsageError(f"{folder}: metrics.jsonl has no {figure}: was the run interrupted before its first?")
    return Loaded(run, model.to(device), config, symbols, row_of(config, [run], len(symbols.alphabet)))


def page(runs: Sequence[Loaded], sampling: Sampling, text: tuple[str, torch.Tensor] | None) -> str:
    """The page of the first run beside the others, a sample drawn from it, and a text with a title where one is given.

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
    template = environment.from_string(files("hypernetworks.text").joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        name=first.name,
        network=first.config.model.network,
        facts=_facts(first),
        pictures=_pictures(runs),
        gates=gates,
        strongest=_strongest(texts, len(gates)),
        texts=texts,
        sampling=_settings({"sampling": vars(sampling)}),
        comparison=_comparison(runs),
        settings=_settings(first.run.config["settings"] | {"versions": first.run.config.get("versions", {})}),
        parameters=_parameters(first.model),
    )


def _facts(loaded: Loaded) -> Mapping[str, str]:
    metadata = loaded.run.best_model()[1]
    row = loaded.row
    return {
        "best validation": f"{row.bpc} bits per {loaded.symbols.unit} (step {metadata['step']})",
        "parameters": f"{row.parameters:,}",
        f"operations per {loaded.symbols.unit}": f"{row.flops_per_character:,}",
        "training speed": f"{row.characters_per_second:,.0f} {loaded.symbols.unit}s a second",
    }


def _pictures(runs: Sequence[Loaded]) -> list[Picture]:
    """The curves of the first run and, where there are others, of all."""
    try:
        pictures = {"Training and validation loss over steps": run_curve(runs[0].run)}
        if len(runs) > 1:
            curves = {loaded.name: curve_of(loaded.run.metrics(), "validation_bpc") for loaded in runs}
            pictures["Validation of all runs over steps"] = draw(curves, "bits per character", "validation")
    except ImportError:
        return []
    return [Picture(title, file[file.index("<svg") :]) for title, file in pictures.items()]


def _strongest(texts: Sequence[Text], gates: int) -> list[float]:
    """For each gate the change that has the full colour, at least above 0."""
    if not gates:
        return []
    changes = torch.tensor([letter.changes for text in texts for letter in text.letters])
    return changes.quantile(STRONGEST, dim=0).clamp(min=torch.finfo(changes.dtype).tiny).tolist()


def _comparison(runs: Sequence[Loaded]) -> Table:
    rows = sorted(runs, key=lambda loaded: loaded.row.validation_bpc)
    return Table(
        ("run", "network", "hidden", "parameters", "FLOPs/char", "chars/s", "bits/char"),
        [
            (
                loaded.name,
                loaded.row.network,
                f"{loaded.row.hidden_size:,}",
                f"{loaded.row.parameters:,}",
                f"{loaded.row.flops_per_character:,}",
                f"{loaded.row.characters_per_second:,.0f}",
                loaded.row.bpc,
            )
            for loaded in rows
        ],
    )


def _settings(settings: Mapping[str, Any], above: str = "") -> Table:
    """The settings one by one, those within others by their whole path."""
    rows: list[Sequence[str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += _settings(value, f"{above}{name}.").rows
        else:
            rows.append((above + name, str(value)))
    return Table(("setting", "value"), rows)


def _parameters(model: nn.Module) -> Table:
    """Every parameter once, and their sum."""
    named = list(model.named_parameters())
    total = sum(parameter.numel() for _, parameter in named)
    rows = [
        (name, " × ".join(map(str, parameter.shape)), f"{parameter.numel():,}", f"{parameter.numel() / total:.1%}")
        for name, parameter in named
    ]
    return Table(("parameter", "shape", "numbers", "share"), [*rows, ("all", "", f"{total:,}", "100.0%")])
