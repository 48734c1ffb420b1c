"""A run as one self-contained HTML page: what is shown of its model, curves, other runs, settings and parameters.

An experiment has a template that extends experiments/report.html and fills its blocks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import Environment, FunctionLoader, StrictUndefined
from torch import nn

from hypernetworks.errors import UsageError
from hypernetworks.experiments.comparison import figures_of
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.runs.curve import curve_of, draw, highest_shown, run_curve
from hypernetworks.runs.run import Run

__all__ = ["Picture", "ReportedRun", "Table", "different_data", "load_reported", "render", "settings_table"]


class Picture(NamedTuple):
    """A picture on the page: a description, and its SVG element."""

    title: str
    svg: str


class Table(NamedTuple):
    """A table on the page, with its cells as text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class ReportedRun:
    """A run loaded from its folder."""

    run: Run
    model: Any
    config: Any
    record: Mapping[str, Any]
    figures: Mapping[str, float]
    """As in a comparison, for example parameters and speed."""
    best: float
    """The best validation, as the experiment scores it."""

    @property
    def name(self) -> str:
        """The folder as given; two runs may have the same folder name."""
        return str(self.run.folder)


def load_reported(experiment: Experiment[Any, Any, Any], folder: Path, device: torch.device) -> ReportedRun:
    """Load a run for the page.

    Raises:
        UsageError: the folder holds no run of the experiment, or one that was not validated yet.
    """
    model, config, record = experiment.load(folder)
    run = Run.open(folder)
    rows, score = run.metrics(), experiment.score.name
    for figure in ("loss", score):
        if not curve_of(rows, figure):
            raise UsageError(f"{folder}: metrics.jsonl has no {figure}: was the run interrupted before its first?")
    figures = figures_of(experiment, config, record, [run])
    best = min(value for _, value in curve_of(rows, score))
    return ReportedRun(run, model.to(device), config, record, figures, best)


def render(
    experiment: Experiment[Any, Any, Any],
    template: str,
    runs: Sequence[ReportedRun],
    facts: Mapping[str, str],
    **shown: Any,
) -> str:
    """Make the page of the first run, compared with the others.

    Args:
        experiment: of the runs.
        template: the path of its template in the package, for example text/report.html.
        runs: the runs, at least one.
        facts: what stands at the top besides the network.
        shown: what the blocks of the template need.

    Without matplotlib the page has no curves, and says so.
    """
    first = runs[0]
    environment = Environment(
        loader=FunctionLoader(lambda path: files("hypernetworks").joinpath(path).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["percent"] = lambda change: f"{100 * change:.3g} %"
    return environment.get_template(template).render(
        name=first.name,
        network=experiment.describe_model(first.config),
        facts=facts,
        pictures=_pictures(experiment, runs),
        comparison=_comparison(experiment, runs),
        different_data=different_data(experiment, runs),
        settings=settings_table(first.run.config["settings"] | {"versions": first.run.config.get("versions", {})}),
        parameters=_parameters(first.model),
        **shown,
    )


def _pictures(experiment: Experiment[Any, Any, Any], runs: Sequence[ReportedRun]) -> list[Picture]:
    """The curves of the first run and, if there are others, of all runs."""
    try:
        pictures = {"Training and validation loss over steps": run_curve(runs[0].run)}
        if len(runs) > 1:
            curves = {reported.name: curve_of(reported.run.metrics(), experiment.score.name) for reported in runs}
            picture = draw(curves, experiment.score.label, "validation", top=highest_shown(curves.values()))
            pictures["Validation of all runs over steps"] = picture
    except ImportError:
        return []
    return [Picture(title, file[file.index("<svg") :]) for title, file in pictures.items()]


def different_data(experiment: Experiment[Any, Any, Any], runs: Sequence[ReportedRun]) -> str:
    """A sentence for runs whose data differ, which names those of each; empty if all are the same."""
    if len({reported.record["sha256"] for reported in runs}) == 1:
        return ""
    named = ", ".join(f"{reported.name} on {experiment.data_name(reported.config)}" for reported in runs)
    return f"These runs were trained and validated on different data, so their scores are not comparable: {named}."


def _comparison(experiment: Experiment[Any, Any, Any], runs: Sequence[ReportedRun]) -> Table:
    headings, score = experiment.headings, experiment.score
    rows = sorted(runs, key=lambda reported: reported.best)
    return Table(
        (
            "run",
            experiment.variant,
            *(headings.get(name, name.replace("_", " ")) for name in runs[0].figures),
            headings.get(score.name, score.label),
        ),
        [
            (
                reported.name,
                experiment.describe_model(reported.config),
                *(f"{value:,.0f}" for value in reported.figures.values()),
                f"{reported.best:.{score.digits}f}",
            )
            for reported in rows
        ],
    )


def settings_table(settings: Mapping[str, Any], above: str = "") -> Table:
    """One row per setting; nested settings have dotted names."""
    rows: list[Sequence[str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += settings_table(value, f"{above}{name}.").rows
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
