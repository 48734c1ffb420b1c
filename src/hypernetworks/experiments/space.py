"""The search space of a study: which settings are searched, and from which values.

A setting is named by its path in the configuration, for example schedule.learning_rate. In JSON a space is an object

    {"schedule.learning_rate": {"low": 0.001, "high": 0.01, "log": true}, "model.hyper_size": {"choices": [16, 32, 64]}}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, TypeVar

from hypernetworks.errors import UsageError

__all__ = ["Choices", "Range", "Space", "changed", "space_from_json", "space_to_json"]

Config = TypeVar("Config")


@dataclass(frozen=True)
class Range:
    """The real numbers from low to high, uniform or uniform in their logarithm.

    Raises:
        UsageError: low is not below high, or the logarithm of low does not exist.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UsageError(f"a range should have low below high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise UsageError(f"a logarithmic range should have low above 0, got {self.low}")

    def is_near_end(self, value: float) -> bool:
        """Whether a value is in the first or last twentieth of the range. A low of 0 is no end: nothing searched is below."""
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        place = (value - low) / (high - low)
        return place > 0.95 or (place < 0.05 and self.low != 0)


@dataclass(frozen=True)
class Choices:
    """A list of values.

    Raises:
        UsageError: it is empty.
    """

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise UsageError("choices should be one or more values, got none")


Space = Mapping[str, Range | Choices]
"""The values of each searched setting, by its path."""


def changed(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with these values at their paths.

    Raises:
        UsageError: a setting is unknown, or a value is impossible.
    """
    for path, value in values.items():
        try:
            attrgetter(path)(config)
        except AttributeError as error:
            raise UsageError(f"no setting {path!r} in {type(config).__name__}") from error
        config = _with(config, path, value)
    return config


def _with(config: Any, path: str, value: Any) -> Any:
    name, _, below = path.partition(".")
    return replace(config, **{name: _with(getattr(config, name), below, value) if below else value})


def space_to_json(space: Space) -> dict[str, Any]:
    """The space as a JSON object."""
    made: dict[str, Any] = {}
    for path, values in space.items():
        if isinstance(values, Choices):
            made[path] = {"choices": list(values.choices)}
        else:
            made[path] = {"low": values.low, "high": values.high, "log": values.log}
    return made


def space_from_json(values: Mapping[str, Any], place: str) -> dict[str, Range | Choices]:
    """The space of a JSON object.

    Raises:
        UsageError: it is not one; the message names `place`.
    """
    made: dict[str, Range | Choices] = {}
    for path, given in values.items():
        match given:
            case {"choices": list(choices)} if len(given) == 1:
                made[path] = Choices(tuple(choices))
            case {"low": int() | float() as low, "high": int() | float() as high, **rest} if set(rest) <= {"log"}:
                made[path] = Range(low, high, bool(rest.get("log", False)))
            case _:
                raise UsageError(f"{place}: {path} should have low and high, or choices, got {given!r}")
    return made
