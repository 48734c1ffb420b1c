"""The variants of a comparison: networks, each alone or with settings of its own.

hyper-lstm                                  a network
hyper-lstm:init=paper,hyper_size=32         the same with settings of its own, by their names on the command line
"""

from dataclasses import fields
from typing import Any, ClassVar, Final, Protocol, TypeVar

from hypernetworks.errors import UsageError
from hypernetworks.experiments.networks import NetworkConfig
from hypernetworks.experiments.space import changed
from hypernetworks.training.schedule import Schedule

__all__ = ["CHOSEN", "NetworkConfiguration", "network_of", "own_settings", "with_variant"]

CHOSEN: Final = ("model.network", "model.hidden_size", "schedule.seed", "schedule.steps")
"""The settings that a comparison chooses itself."""

_SHARED: Final = ("corpus", "validation_text", "test_text", "unit", "data", "validation_characters", "device")
"""The settings that are the same for all variants: what they read, and where."""


class NetworkConfiguration(Protocol):
    """The settings of a run whose model has a recurrent network."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def model(self) -> NetworkConfig:
        """The network and the rest of the model."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How it is trained."""
        ...

    @property
    def device(self) -> str:
        """Where it is trained."""
        ...


Config = TypeVar("Config", bound=NetworkConfiguration)


def network_of(variant: str) -> str:
    """The name of a variant's network."""
    return variant.partition(":")[0]


def own_settings(config: NetworkConfiguration, variant: str) -> dict[str, Any]:
    """The settings that a variant has besides its network, by their paths.

    Raises:
        UsageError: a setting is unknown or not of one value, is chosen by the comparison, or its value has another type.
    """
    _, colon, given = variant.partition(":")
    known = {path.rpartition(".")[2]: path for path in _paths(config)}
    values: dict[str, Any] = {}
    for part in given.split(",") if colon else ():
        name, equals, text = part.partition("=")
        path = known.get(name.replace("-", "_"))
        if not equals or path is None:
            raise UsageError(
                f"{variant!r}: a variant is NETWORK or NETWORK:SETTING=VALUE,… with settings of a model or its training, "
                f"got {part!r}"
            )
        if path in CHOSEN:
            raise UsageError(f"{variant}: the comparison chooses {name} itself")
        values[path] = _value(variant, name, text, _paths(config)[path])
    return values


def with_variant(config: Config, variant: str) -> Config:
    """The configuration with the network and the settings of a variant.

    Raises:
        UsageError: there is no such network or setting, or a value is impossible.
    """
    return changed(config, {"model.network": network_of(variant), **own_settings(config, variant)})


def _paths(config: NetworkConfiguration) -> dict[str, Any]:
    """The settings of one value that variants may differ in, by their paths."""
    parts = {"model.": config.model, "schedule.": config.schedule, "": config}
    found = {path + item.name: getattr(part, item.name) for path, part in parts.items() for item in fields(part)}
    return {
        path: value
        for path, value in found.items()
        if isinstance(value, bool | int | float | str) and path not in _SHARED
    }


def _value(variant: str, name: str, text: str, like: Any) -> Any:
    """The text as a value of the type of another one."""
    try:
        return {"true": True, "false": False}[text] if isinstance(like, bool) else type(like)(text)
    except (KeyError, ValueError) as error:
        wanted = "true or false" if isinstance(like, bool) else f"a value of type {type(like).__name__}"
        raise UsageError(f"{variant}: {name} should be {wanted}, got {text!r}") from error
