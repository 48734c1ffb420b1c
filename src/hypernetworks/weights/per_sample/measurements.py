"""What was measured of a target, and when it has to be measured again.

A measurement is found by all that may change what a target does with its samples: its modules and their attributes, and the
arguments but for the values of tensors. Of a float only the sign counts, so that an annealed one does not require a measurement
for each value.

Values of tensors are not compared either, but for small buffers of bools, which may be flags. When one of them has changed, the
target is measured again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.torch_compat import MODULE_ATTRIBUTES, version
from hypernetworks.weights.per_sample.observer import Places
from hypernetworks.weights.plan import CONSTANTS

_BY_VALUE = CONSTANTS - {float, complex}
_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType)
_LONGEST = 64
"""Entries of a container that are compared. Longer ones, such as vocabularies, are compared by their lengths."""
_LARGEST_FLAG = 64
"""Entries of a buffer of bools that may be a flag; larger ones are masks."""
_DEPTH = 3


class Measurements:
    """What was measured of a target, by what it was called with: a found, or why it cannot be served. Copies start empty."""

    LIMIT = 256

    def __init__(self) -> None:
        self._found: dict[Any, tuple[Places | str, list[_Flag]]] = {}

    def get(self, key: Any) -> Places | str | None:
        """What is known for these calls."""
        found, flags = self._found.get(key, (None, []))
        return None if any(flag.has_changed() for flag in flags) else found

    def set(self, key: Any, found: Places | str, target: nn.Module) -> None:
        """Remember a found for a target, or why there is none."""
        self._found.pop(key, None)  # the newest is the last
        self._found[key] = found, [] if isinstance(found, str) else [*_flags(target)]
        if len(self._found) > self.LIMIT:
            self._found.pop(next(iter(self._found)), None)

    def __reduce__(self) -> Any:
        return Measurements, ()


def key_of(target: nn.Module, leaves: Sequence[Any], *others: Any) -> Any:
    """What a measurement is found by: the modules, the leaves of the arguments, and other hashable things."""
    settings = _Settings()
    modules = tuple([settings.of_module(module) for module in target.modules()])
    given = tuple([(leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else _of_argument(leaf) for leaf in leaves])
    return modules, tuple(settings.objects), given, others


def _of_argument(leaf: Any) -> Any:
    return leaf if type(leaf) in _BY_VALUE or isinstance(leaf, int | float | complex | str | Enum) else type(leaf)


class _Settings:
    """The attributes of modules as something hashable, each object once."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        """The attributes of the objects."""
        self._places: dict[int, int] = {}

    def of_module(self, module: nn.Module) -> tuple[Any, ...]:
        """The settings of a module, but not of its submodules, and what tells it from other modules."""
        found: list[Any] = [id(module)]
        for name, value in vars(module).items():
            if type(value) in _BY_VALUE:
                found.append(value)
            elif name not in MODULE_ATTRIBUTES:
                found.append(self._of(value, _DEPTH))
        return tuple(found)

    def _of(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _BY_VALUE or isinstance(value, int | str | Enum):
            return value
        if isinstance(value, float | complex):
            return (value == 0, isinstance(value, float) and value > 0)
        if isinstance(value, _FUNCTIONS):
            return id(value)
        if isinstance(value, Tensor | nn.Module | type) or not depth:
            return kind
        if isinstance(value, list | tuple | set | frozenset | dict):
            if len(value) > _LONGEST:
                return kind, len(value)
            if isinstance(value, dict):
                return tuple([(self._of(key, 0), self._of(each, depth - 1)) for key, each in value.items()])
            return kind, tuple([self._of(each, depth - 1) for each in value])
        return kind, self._of_object(value, depth)

    def _of_object(self, value: Any, depth: int) -> int:
        """The number of an object, whose attributes are found once."""
        place = self._places.get(id(value))
        if place is None:
            place = self._places[id(value)] = len(self.objects)
            self.objects.append(None)
            attributes = getattr(value, "__dict__", {})
            self.objects[place] = tuple([self._of(each, depth - 1) for each in attributes.values()])
        return place


@dataclass
class _Flag:
    """A buffer that may decide what the target does."""

    owner: Mapping[str, Tensor | None]
    name: str
    tensor: Tensor
    version: int
    value: Tensor

    def has_changed(self) -> bool:
        """Whether it has another value now. It is compared only if torch has counted a change in place, or it was replaced."""
        now = self.owner.get(self.name)
        if now is None:
            return True
        if now is self.tensor and version(now) == self.version:
            return False
        self.tensor, self.version = now, version(now)
        return not torch.equal(now, self.value)


def _flags(target: nn.Module) -> Iterator[_Flag]:
    for module in target.modules():
        for name, tensor in module._buffers.items():
            if tensor is not None and tensor.dtype == torch.bool and tensor.numel() <= _LARGEST_FLAG:
                yield _Flag(module._buffers, name, tensor, version(tensor), tensor.clone())
