"""Attributes that refer to modules or tensors of a target, for a copy of it: they refer to the copies instead.

list, set, dict            copied, since a target may change them while it runs
tuple, named tuple, bound method, partial, function with a closure, weak reference, object
                           made again if what they refer to has a copy, and the same otherwise
"""

import copy
import functools
import types
import weakref
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor, nn

from hypernetworks.weights.plan import Plan, PlanChangedError, are_constants, is_constant

# the plan of a network within the target is of its own tree, not of a copy
_NOT_SEARCHED = (Tensor, type, types.ModuleType, Plan)
_DEPTH = 2
_CACHED = type(functools.lru_cache(len))


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
        self._depth = 0

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
        if isinstance(value, weakref.ProxyTypes):  # before nn.Module, which a proxy pretends to be
            return self._proxy(value)
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

    def _list(self, value: Any, owned: bool) -> Any:
        """A list or deque."""
        copies = self._copies
        new = copies[id(value)] = copy.copy(value) if owned else value  # now, since it may contain itself
        values, changed = self._values(value, owned)
        if changed:
            new = copies[id(value)] = copy.copy(value) if new is value else new
            new.clear()
            new.extend(values)
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

    def _frozenset(self, value: frozenset[Any], owned: bool) -> frozenset[Any]:
        values, changed = self._values(value, owned)
        return frozenset(values) if changed else value

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

    def _builtin(self, value: Any, owned: bool) -> Any:
        """A method of a container: `self.note = self.seen.append`."""
        owner = value.__self__
        if not isinstance(owner, list | dict | set | deque):
            return value
        new = self.copied(owner, owned)
        return value if new is owner else getattr(new, value.__name__)

    def _cached(self, value: Any, owned: bool) -> Any:
        """A function with functools.lru_cache, whose results may have been computed with other weights."""
        function = self.copied(value.__wrapped__, owned=False)
        return value if function is value.__wrapped__ else functools.lru_cache(**value.cache_parameters())(function)

    def _function(self, value: types.FunctionType, owned: bool) -> types.FunctionType:
        """A function that holds modules: `self.skip = lambda x: self.conv(x)`, or `lambda x, conv=conv: conv(x)`."""
        cells = [cell for cell in value.__closure__ or () if _filled(cell)]
        defaults, keywords = value.__defaults__ or (), value.__kwdefaults__ or {}
        if not (cells or defaults or keywords):
            return value
        self._copies[id(value)] = value  # it may be in its own closure
        contents, changed = self._values([cell.cell_contents for cell in cells], owned=False)
        new_defaults, others = self._values(defaults, owned=False)
        new_keywords, more = self._values(keywords.values(), owned=False)
        if not (changed or others or more):
            return value
        filled = dict(zip(map(id, cells), map(types.CellType, contents), strict=True))
        closure = tuple(filled.get(id(cell), cell) for cell in value.__closure__ or ())
        new = types.FunctionType(value.__code__, value.__globals__, value.__name__, tuple(new_defaults), closure)
        new.__kwdefaults__ = dict(zip(keywords, new_keywords, strict=True))
        new.__dict__.update(value.__dict__)
        self._copies[id(value)] = new
        return new

    def _object(self, value: Any) -> Any:
        """An object of another class that itself holds modules, in attributes or slots."""
        if self._depth == _DEPTH or isinstance(value, _NOT_SEARCHED):
            return value
        attributes = _attributes(value)
        if not attributes:
            return value
        self._copies[id(value)] = value
        self._depth += 1
        values, changed = self._values(attributes.values(), owned=False)
        self._depth -= 1
        if not changed:
            return value
        new = self._copies[id(value)] = copy.copy(value)
        if new is value:
            raise TypeError(
                f"the target has an attribute of type {type(value).__name__}, which refers to a module of the target and "
                "cannot be copied: keep the module in another way"
            )
        for name, each in zip(attributes, values, strict=True):
            if each is not attributes[name]:
                object.__setattr__(new, name, each)  # a frozen dataclass refuses setattr
        return new

    def _reference(self, value: "weakref.ref[Any]", owned: bool) -> "weakref.ref[Any]":
        referred = value()
        new = self.copied(referred, owned=False)
        if new is referred or (isinstance(value, weakref.WeakMethod) and new == referred):
            return value
        return weakref.WeakMethod(new) if isinstance(value, weakref.WeakMethod) else weakref.ref(new)

    def _proxy(self, value: Any) -> Any:
        try:
            referred = value.__init__.__self__
        except ReferenceError:
            return value
        new = self.copied(referred, owned=False)
        return value if new is referred else weakref.proxy(new)


_COPIED: dict[type, Callable[[References, Any, bool], Any]] = {
    tuple: References._tuple,
    list: References._list,
    deque: References._list,
    dict: References._dict,
    set: References._set,
    frozenset: References._frozenset,
    types.MethodType: References._method,
    functools.partial: References._partial,
    types.FunctionType: References._function,
    types.BuiltinFunctionType: References._builtin,
    types.MethodWrapperType: References._builtin,
    _CACHED: References._cached,
    weakref.ref: References._reference,
}


def _filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value."""
    return cell != types.CellType()


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes and slots of an object."""
    return dict(getattr(value, "__dict__", ())) | slots_of(value)


def slots_of(value: Any) -> dict[str, Any]:
    """The filled slots of an object."""
    found = {}
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name.startswith("__") and not name.endswith("__"):  # as Python renames private names
                name = f"_{kind.__name__.lstrip('_')}{name}"
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found
