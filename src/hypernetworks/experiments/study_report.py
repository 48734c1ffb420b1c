"""The report of a study, made from its results alone: a table, all paired differences, and curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from hypernetworks.experiments.curves import Point, csv_of, draw_all
from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.results import Result
from hypernetworks.experiments.statistics import paired_difference, spread
from hypernetworks.files import write_whole

__all__ = ["write_report"]

DIGITS = 4


def write_report(
    experiment: Experiment[Any, Any, Any], folder: Path, results: Sequence[Result], title: str
) -> list[Path]:
    """Write report.md, curves.csv, and with matplotlib study.svg, study-flops.svg and study-seconds.svg.

    Args:
        experiment: what was trained.
        folder: where to write.
        results: all results of the study; the final runs are reported, each variant with the same seeds.
        title: the title of page and pictures.
    """
    finals: dict[str, dict[int, Result]] = {}
    for result in sorted((result for result in results if result.trial is None), key=lambda result: result.seed):
        finals.setdefault(result.variant, {})[result.seed] = result
    order = sorted(finals, key=lambda variant: mean(_scores(finals[variant])))
    curves = {variant: {seed: _curve(run) for seed, run in finals[variant].items()} for variant in order}
    files = {
        "report.md": _page(experiment, [(variant, finals[variant]) for variant in order], results, title),
        "curves.csv": csv_of(curves, "validation_loss"),
    }
    try:
        drawn = draw_all({variant: list(runs.values()) for variant, runs in curves.items()}, "loss (nats)", title)
        files |= {f"study{end}.svg": picture for end, picture in drawn.items()}
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'hypernetworks[plot]')")
    for name, content in files.items():
        write_whole(folder / name, content.encode())
    return [folder / name for name in files]


def _scores(runs: Mapping[int, Result]) -> list[float]:
    return [run.score for run in runs.values()]


def _curve(result: Result) -> list[Point]:
    return [Point(**point) for point in result.curve]  # type: ignore[arg-type]


def _page(
    experiment: Experiment[Any, Any, Any],
    rows: Sequence[tuple[str, Mapping[int, Result]]],
    results: Sequence[Result],
    title: str,
) -> str:
    seeds = " ".join(map(str, rows[0][1]))
    figures = list(next(iter(rows[0][1].values())).figures)
    extra = list(next(iter(rows[0][1].values())).scores)
    heads = [experiment.variant, *(experiment.headings.get(key, key.replace("_", " ")) for key in figures)]
    heads += ["trials", "settings", "validation loss", *(name.replace("_", " ") for name in extra)]
    lines = [f"# {title}", "", *_table(heads, [_row(*row, figures, extra, results) for row in rows]), ""]
    lines += [
        f"Loss in nats, mean ± standard deviation over seeds {seeds}. The settings are those of the trial with the lowest "
        "validation loss, and each run's model is that of its lowest validation: the validation loss was selected for.",
        "",
    ]
    if len(rows) > 1 and len(rows[0][1]) > 1:
        lines += ["## Paired differences", "", *_differences(rows), ""]
        lines += [
            "Validation loss of the row minus that of the column, in nats, with the 95 % t interval over paired seeds.",
            "",
        ]
    return "\n".join(lines)


def _row(
    variant: str, runs: Mapping[int, Result], figures: Sequence[str], extra: Sequence[str], results: Sequence[Result]
) -> list[str]:
    trials = [result.state for result in results if result.is_trial_of(variant)]
    values = next(iter(runs.values())).values
    settings = ", ".join(
        f"{path.rpartition('.')[2]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for path, value in values.items()
    )
    return [
        variant,
        *(f"{mean(run.figures[key] for run in runs.values()):,.0f}" for key in figures),
        f"{len(trials)} ({trials.count('pruned')} pruned)",
        settings,
        spread(_scores(runs), DIGITS),
        *(spread([run.scores[name] for run in runs.values()], DIGITS) for name in extra),
    ]


def _differences(rows: Sequence[tuple[str, Mapping[int, Result]]]) -> list[str]:
    made = []
    for variant, runs in rows:
        cells = [
            "" if other == variant else paired_difference(_scores(runs), _scores(others)).text(DIGITS)
            for other, others in rows
        ]
        made.append([variant, *cells])
    return _table(["", *(variant for variant, _ in rows)], made)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
