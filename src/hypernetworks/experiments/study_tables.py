"""The tables of a study in Markdown: what each variant costs and reaches, and paired differences over seeds."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from hypernetworks.experiments.experiment import Experiment
from hypernetworks.experiments.results import Result
from hypernetworks.experiments.statistics import paired_difference, spread

__all__ = ["Runs", "by_variant", "cost_table", "difference_table", "diverged", "equal_time_table", "scores"]

DIGITS = 4

Runs = Mapping[int, Result]
"""The final runs of a variant by their seeds."""


def by_variant(results: Sequence[Result]) -> dict[str, Runs]:
    """The final runs among results, by variant and seed; the variant with the lowest mean loss first."""
    finals: dict[str, dict[int, Result]] = {}
    for result in sorted((result for result in results if result.is_final), key=lambda result: result.seed):
        finals.setdefault(result.variant, {})[result.seed] = result
    return {variant: finals[variant] for variant in sorted(finals, key=lambda variant: mean(scores(finals[variant])))}


def scores(runs: Runs) -> list[float]:
    """The lowest validation loss of each seed; of a run that diverged, the lowest before."""
    return [run.score for run in runs.values()]


def diverged(runs: Runs) -> int:
    """How many of the runs diverged."""
    return sum(run.state == "diverged" for run in runs.values())


def cost_table(
    experiment: Experiment[Any, Any, Any],
    rows: Mapping[str, Runs],
    results: Sequence[Result],
    step_times: Mapping[str, float],
) -> list[str]:
    """What each variant costs and reaches. With measured step times, they take the place of the speed that the runs logged."""
    first = next(iter(next(iter(rows.values())).values()))
    known = dict.fromkeys(key for runs in rows.values() for run in runs.values() for key in run.figures)
    speed = f"{experiment.task_type.unit}_per_second"
    figures = [key for key in known if not (step_times and key == speed)]
    heads = [experiment.variant, *(experiment.headings.get(key, key.replace("_", " ")) for key in figures)]
    heads += ["ms/step"] if step_times else []
    heads += ["trials", "settings", "validation loss", *(name.replace("_", " ") for name in first.scores)]
    made = []
    for variant, runs in rows.items():
        trials = [result.state for result in results if result.is_trial_of(variant)]
        made.append(
            [
                variant,
                *(_mean([run.figures[key] for run in runs.values() if run.figures]) for key in figures),
                *([_milliseconds(step_times.get(variant))] if step_times else []),
                f"{len(trials)} ({trials.count('pruned')} pruned)",
                _settings(next(iter(runs.values())).values),
                _loss(runs),
                *(spread([run.scores[name] for run in runs.values()], DIGITS) for name in first.scores),
            ]
        )
    return _table(heads, made)


def equal_time_table(experiment: Experiment[Any, Any, Any], rows: Mapping[str, Runs]) -> list[str]:
    """The steps and the loss of each variant."""
    made = []
    for variant, runs in rows.items():
        steps = {run.settings["schedule"]["steps"] for run in runs.values()}
        made.append([variant, " ".join(f"{count:,}" for count in sorted(steps)), _loss(runs)])
    return _table([experiment.variant, "steps", "validation loss"], made)


def difference_table(rows: Mapping[str, Runs], columns: Mapping[str, Runs]) -> list[str]:
    """The loss of the row minus that of the column, over the seeds that both have."""
    made = [
        [variant, *("" if other == variant else _difference(runs, against) for other, against in columns.items())]
        for variant, runs in rows.items()
    ]
    return _table(["", *columns], made)


def _difference(first: Runs, second: Runs) -> str:
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return ""
    return paired_difference([first[seed].score for seed in seeds], [second[seed].score for seed in seeds]).text(DIGITS)


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f}"


def _mean(values: Sequence[float]) -> str:
    return f"{mean(values):,.0f}" if values else ""


def _loss(runs: Runs) -> str:
    count = diverged(runs)
    return spread(scores(runs), DIGITS) + (f" ({count} diverged)" if count else "")


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{path.rpartition('.')[2]} {f'{value:.3g}' if isinstance(value, float) else value}"
        for path, value in values.items()
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
