"""Attributes that refer to modules or tensors of a target, for a copy of it: they refer to the copies instead.

list, set, dict            copied, since a target may change them while it runs
tuple, named tuple, bound method, partial, function with a closure, weak reference, object
                           made again if what they refer to has a copy, and the same otherwise
"""

import copy
import functools
import types
import weakref
from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor, nn

from hypernetworks.weights.plan import PlanChangedError, are_constants, is_constant

_NOT_SEARCHED = (Tensor, type, types.ModuleType)


class UnknownModuleError(PlanChangedError):
    """A value refers to a module that has no copy."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


class References:
    """Copies values that may refer to what has been copied.

    Args:
        copies: of modules and tensors, by the id of each. Values that are copied are added.

    Raises:
        UnknownModuleError: see `copied`.
    """

    def __init__(self, copies: dict[int, Any]) -> None:
        self._copies = copies
        self._in_object = False

    def copied(self, value: Any, owned: bool = True) -> Any:
        """A value: the same, or where it refers to what has a copy, a value that refers to the copy.

        A list, set or dict that is `owned`, an attribute and not a variable of a function, is always copied.

        Raises:
            UnknownModuleError: it refers to a module that has no copy.
        """
        if is_constant(value):
            return value
        known = self._copies.get(id(value))
        if known is not None:
            return known
        if isinstance(value, nn.Module):
            raise UnknownModuleError(value)
        for kind, copied in _COPIED.items():
            if isinstance(value, kind):
                return copied(self, value, owned)
        return self._object(value)

    def _values(self, values: Collection[Any], owned: bool) -> tuple[Collection[Any], bool]:
        """The values, and whether one of them is another object than before."""
        if are_constants(values):
            return values, False
        new = [self.copied(value, owned) for value in values]
        return new, any(a is not b for a, b in zip(values, new, strict=True))

    def _list(self, value: list[Any], owned: bool) -> list[Any]:
        copies = self._copies
        new = copies[id(value)] = copy.copy(value) if owned else value  # now, since it may contain itself
        values, changed = self._values(value, owned)
        if changed:
            new = copies[id(value)] = copy.copy(value) if new is value else new
            new[:] = values
        return new

    def _set(self, value: set[Any], owned: bool) -> set[Any]:
        values, changed = self._values(value, owned)
        if not (changed or owned):
            return value
        new = self._copies[id(value)] = copy.copy(value)
        if changed:
            new.clear()
            new.update(values)
        return new

    def _dict(self, value: dict[Any, Any], owned: bool) -> dict[Any, Any]:
        copies = self._copies
        new = copies[id(value)] = copy.copy(value) if owned else value
        keys, changed_keys = self._values(value.keys(), owned)
        values, changed = self._values(value.values(), owned)
        if changed or changed_keys:
            new = copies[id(value)] = copy.copy(value) if new is value else new
            items = [*zip(keys, values, strict=True)]
            new.clear()
            new.update(items)
        return new

    def _tuple(self, value: tuple[Any, ...], owned: bool) -> tuple[Any, ...]:
        values, changed = self._values(value, owned)
        if not changed:
            return value
        return value._make(values) if hasattr(value, "_make") else tuple(values)  # pyright: ignore[reportAttributeAccessIssue]

    def _method(self, value: types.MethodType, owned: bool) -> types.MethodType:
        owner = self.copied(value.__self__, owned=False)
        return value if owner is value.__self__ else types.MethodType(value.__func__, owner)

    def _partial(self, value: functools.partial[Any], owned: bool) -> functools.partial[Any]:
        (function, *args), changed = self._values((value.func, *value.args), owned=False)
        keywords, others = self._values(value.keywords.values(), owned=False)
        if not (changed or others):
            return value
        new = functools.partial(function, *args, **dict(zip(value.keywords, keywords, strict=True)))
        new.__dict__.update(value.__dict__)
        return new

    def _function(self, value: types.FunctionType, owned: bool) -> types.FunctionType:
        """A function whose closure holds modules: `self.skip = lambda x: self.conv(x)`."""
        cells = [cell for cell in value.__closure__ or () if _filled(cell)]
        if not cells:
            return value
        self._copies[id(value)] = value  # it may be in its own closure
        contents, changed = self._values([cell.cell_contents for cell in cells], owned=False)
        if not changed:
            return value
        filled = dict(zip(map(id, cells), map(types.CellType, contents), strict=True))
        closure = tuple(filled.get(id(cell), cell) for cell in value.__closure__ or ())
        new = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
        new.__kwdefaults__ = value.__kwdefaults__
        new.__dict__.update(value.__dict__)
        self._copies[id(value)] = new
        return new

    def _object(self, value: Any) -> Any:
        """An object of another class that itself holds modules. Objects that it holds are not searched: they may be many."""
        if self._in_object or isinstance(value, _NOT_SEARCHED) or not hasattr(value, "__dict__"):
            return value
        self._copies[id(value)] = value
        self._in_object = True
        values, changed = self._values(vars(value).values(), owned=False)
        self._in_object = False
        if not changed:
            return value
        new = self._copies[id(value)] = copy.copy(value)
        vars(new).update(zip(vars(value), values, strict=True))
        return new

    def _reference(self, value: "weakref.ref[Any]", owned: bool) -> "weakref.ref[Any]":
        referred = value()
        new = self.copied(referred, owned=False)
        return value if new is referred else weakref.ref(new)


_COPIED: dict[type, Callable[[References, Any, bool], Any]] = {
    tuple: References._tuple,
    list: References._list,
    dict: References._dict,
    set: References._set,
    types.MethodType: References._method,
    functools.partial: References._partial,
    types.FunctionType: References._function,
    weakref.ref: References._reference,
}


def _filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value."""
    return cell != types.CellType()
