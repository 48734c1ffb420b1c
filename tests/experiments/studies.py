"""A study of the smallest experiment, for the tests."""

from pathlib import Path

from hypernetworks.experiments.plan import Plan
from hypernetworks.experiments.results import read_results
from hypernetworks.experiments.search import Pruning
from hypernetworks.experiments.space import Choices, Range, changed, space_to_json
from hypernetworks.experiments.study import Study

from .toy import LINE, LineConfig

SPACE = {"schedule.learning_rate": Range(1e-3, 1.0, log=True), "slope": Choices((2.0,))}
DATA = LINE.load_data(LineConfig(), None)


def configure(variant: str, values: dict) -> LineConfig:
    return changed(
        LineConfig(bias=variant == "with-bias"), {"schedule.steps": 6, "schedule.evaluate_every": 2, **values}
    )


def plan(**changes: object) -> Plan[LineConfig]:
    variants = ("with-bias", "without")
    given = {
        "trials": 5,
        "trial_steps": 4,
        "seeds": (1, 2),
        "pruning": Pruning(1),
        "written": {"space": space_to_json(SPACE)},
    }
    return Plan(variants=variants, spaces=dict.fromkeys(variants, SPACE), configure=configure, **(given | changes))  # type: ignore[arg-type]


def study(folder: Path, resume: bool = False, **changes: object) -> Study:
    return Study(LINE, folder, plan(**changes), DATA, resume)


def timeless(folder: Path) -> dict[str, object]:
    """All results without what a clock measured."""
    return {
        name: (
            result.state,
            result.values,
            [(point["step"], point["value"]) for point in result.curve],
            result.settings,
        )
        for name, result in read_results(folder / "results").items()
    }
