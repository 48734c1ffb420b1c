"""Configurations: frozen dataclasses that are read from JSON, compared, and changed by flags.

A configuration may grow. A field that the JSON lacks takes its default, so a new field needs a default under which older runs
behave as before.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from hypernetworks.errors import UsageError

__all__ = ["apply_changes", "differences", "from_json"]

Config = TypeVar("Config")


def from_json(kind: type[Config], values: Mapping[str, Any], place: str) -> Config:
    """Make a dataclass from JSON. Each value must have the type of the field's default; nested dataclasses are read alike.

    Args:
        kind: the dataclass; every field has a default.
        values: the JSON object.
        place: the file or folder that error messages name.

    Raises:
        UsageError: a setting is unknown, has another type, or is impossible.
    """
    default: Any = kind()
    known = {item.name: getattr(default, item.name) for item in fields(default)}
    if unknown := sorted(set(values) - set(known)):
        raise UsageError(f"{place}: config.json has settings unknown to this version: {', '.join(unknown)}")
    return kind(**{name: _value(name, value, known[name], place) for name, value in values.items()})


def _value(name: str, value: Any, default: Any, place: str) -> Any:
    expected = type(default)
    if is_dataclass(default) and isinstance(value, Mapping):
        return from_json(expected, value, place)
    if expected is tuple and type(value) is list and all(type(item) in (int, float) for item in value):
        return tuple(value)
    if type(value) is not expected and not (expected is float and type(value) is int):
        wanted = "a JSON object" if is_dataclass(default) else expected.__name__
        raise UsageError(f"{place}: config.json has {name} {value!r}, expected {wanted}")
    return value


def differences(own: Any, given: Any) -> str:
    """List the settings in which `given` differs from a run's `own`, with both values; empty if there are none."""
    found = []
    for item in fields(own):
        a, b = getattr(own, item.name), getattr(given, item.name)
        if is_dataclass(a):
            found.append(differences(a, b))
        elif a != b:
            found.append(f"{item.name} {b} (the run has {a})")
    return ", ".join(filter(None, found))


def apply_changes(before: Config, after: Config, target: Config) -> Config:
    """Return `target` with every setting that differs between `before` and `after` set to its value in `after`."""
    changes: dict[str, Any] = {}
    for item in fields(target):  # type: ignore[arg-type]
        a, b, c = (getattr(config, item.name) for config in (before, after, target))
        if is_dataclass(a):
            changes[item.name] = apply_changes(a, b, c)
        elif a != b:
            changes[item.name] = b
    return replace(target, **changes)  # type: ignore[type-var]
