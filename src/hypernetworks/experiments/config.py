"""What the configs of all experiments share: frozen dataclasses that come back from JSON, are compared and carried over."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch

from hypernetworks.errors import UsageError

Config = TypeVar("Config")


def find_device(name: str) -> torch.device:
    """The device of a name; UsageError where there is none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        probe = torch.zeros(1, device=name)
        probe.cpu()  # the meta device has no numbers to give
        return probe.device
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"device should be auto, cpu, cuda or another device of this machine, got {name!r}: {reason}"
        ) from error


def from_json(kind: type[Config], values: Mapping[str, Any], place: str) -> Config:
    """A dataclass from JSON, each value of the type of the field's default, dataclasses within it alike.

    Raises:
        UsageError: a setting is missing, unknown, of another type or impossible; `place` is named where JSON is at fault.
    """
    plain: Any = kind()
    known = {item.name: getattr(plain, item.name) for item in fields(plain)}
    if set(values) != set(known):
        odd = ", ".join(sorted(set(values) ^ set(known)))
        raise UsageError(f"{place}: config.json has other settings than this version: {odd}")
    return kind(**{name: _value(name, value, known[name], place) for name, value in values.items()})


def _value(name: str, value: Any, default: Any, place: str) -> Any:
    expected = type(default)
    if is_dataclass(default) and isinstance(value, Mapping):
        return from_json(expected, value, place)
    if expected is tuple and type(value) is list and all(type(item) in (int, float) for item in value):
        return tuple(value)
    if type(value) is not expected and not (expected is float and type(value) is int):
        raise UsageError(f"{place}: config.json has {name} {value!r}, expected {expected.__name__}")
    return value


def differences(own: Any, given: Any) -> str:
    """The settings that are not a run's own, each with both values; empty where there are none."""
    found = []
    for item in fields(own):
        a, b = getattr(own, item.name), getattr(given, item.name)
        if is_dataclass(a):
            found.append(differences(a, b))
        elif a != b:
            found.append(f"{item.name} {b} (the run has {a})")
    return ", ".join(filter(None, found))


def carried(plain: Config, given: Config, onto: Config) -> Config:
    """`onto`, changed as `given` was from `plain`: what flags asked of one config, asked of another."""
    changes: dict[str, Any] = {}
    for item in fields(onto):  # type: ignore[arg-type]
        a, b, c = (getattr(config, item.name) for config in (plain, given, onto))
        if is_dataclass(a):
            changes[item.name] = carried(a, b, c)
        elif a != b:
            changes[item.name] = b
    return replace(onto, **changes)  # type: ignore[type-var]
