"""The plan of a study: which variants, what is searched, how many trials and seeds."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Generic

from hypernetworks.errors import UsageError
from hypernetworks.experiments.parts import Config
from hypernetworks.experiments.search import Pruning
from hypernetworks.experiments.space import Space

__all__ = ["SEARCH_SEED", "Plan", "plan_differences"]

SEARCH_SEED: Final = 0
"""The seed of all trials."""


@dataclass(frozen=True)
class Plan(Generic[Config]):
    """What a study does.

    Raises:
        UsageError: there are no variants, trials or seeds, or some are equal.
    """

    variants: tuple[str, ...]
    spaces: Mapping[str, Space]
    """What is searched for each variant."""
    configure: Callable[[str, Mapping[str, Any]], Config]
    """The configuration of a variant with these values of its searched settings; UsageError if there is none."""
    trials: int = 10
    """Trials of each variant."""
    trial_steps: int = 0
    """Steps of a trial; 0: as many as in a final run."""
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    """The seeds of the final runs. Trials have seed 0."""
    pruning: Pruning = field(default_factory=Pruning)
    written: Mapping[str, Any] = field(default_factory=dict)
    """What study.json holds besides."""

    def __post_init__(self) -> None:
        for name in ("variants", "seeds"):
            given = getattr(self, name)
            if len(set(given)) != len(given) or not given:
                raise UsageError(
                    f"{name} should be one or more different ones, got {' '.join(map(str, given)) or 'none'}"
                )
        if SEARCH_SEED in self.seeds:
            raise UsageError(f"seeds should differ from {SEARCH_SEED}, the seed of the trials, got {SEARCH_SEED}")
        if self.trials < 1 or self.trial_steps < 0:
            raise UsageError(
                f"trials should be at least 1 and trial_steps at least 0, got {self.trials} and {self.trial_steps}"
            )

    def to_json(self) -> dict[str, Any]:
        """The plan as study.json holds it."""
        made = {
            "variants": list(self.variants),
            "trials": self.trials,
            "trial_steps": self.trial_steps,
            "seeds": list(self.seeds),
            "pruning": asdict(self.pruning),
        }
        return json.loads(json.dumps(made | dict(self.written)))


def plan_differences(found: Any, given: Any, path: str = "") -> str:
    """The first entries in which two JSON objects differ, as text; empty if they are equal."""
    if isinstance(found, dict) and isinstance(given, dict):
        names = dict.fromkeys((*found, *given))
        parts = [plan_differences(found.get(name), given.get(name), f"{path}.{name}".lstrip(".")) for name in names]
        return ", ".join([part for part in parts if part][:3])
    return "" if found == given else f"{path} is {json.dumps(found)[:60]} there, got {json.dumps(given)[:60]}"
