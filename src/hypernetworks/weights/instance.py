"""A target with given tensors in place of its own, for one call: a shallow copy of its tree of modules.

Every module is copied once, however many names it has. A copy has its own dictionaries of attributes, parameters, buffers and
submodules, so whatever is assigned while it runs stays in it, and the target is never written. Calls can therefore overlap:
threads, a second forward pass before a backward pass, or a recomputation by torch.utils.checkpoint each see their own tensors,
which live for as long as something refers to them.

    parameters    the given tensors, in every place that holds the Parameter; all others are shared
    buffers       copies; `write_back` gives those of modules in training mode to the target
    attributes    shared, except what refers to the target's modules or tensors (bound methods, partials, closures, lists, ...),
                  which refers to the copies instead, and lists, sets and dicts, which are copied
"""

import copy
import functools
import types
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hypernetworks.torch_compat import COMPILED_CALL, HOOKS, MODULE_ATTRIBUTES

Module = TypeVar("Module", bound=nn.Module)

_CONSTANTS = frozenset(
    {
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        type(None),
        torch.Size,
        torch.dtype,
        torch.device,
        types.BuiltinFunctionType,
    }
)
_COUNT = len(MODULE_ATTRIBUTES)
_READ_ONLY_IN_EVALUATION = nn.modules.batchnorm._NormBase


class Instance:
    """A copy of `target` for one call, `module`, in which `tensors` replace the target's parameters.

    Args:
        target: the module.
        tensors: the new tensors, by the id of the parameter that each replaces.
    """

    def __init__(self, target: nn.Module, tensors: Mapping[int, Tensor]) -> None:
        self._memo: dict[int, Any] = dict(tensors)
        self._training: list[tuple[nn.Module, nn.Module, dict[str, Tensor | None]]] = []
        self.replaced: set[int] = set()
        """The ids of the parameters that were replaced."""
        self.parameters = 0
        """The number of places that hold parameters."""
        self.module = self._module(target)

    def write_back(self) -> None:
        """Give the target the buffers of its modules in training mode: changed in place, assigned or registered."""
        with torch.no_grad():
            for module, twin, given in self._training:
                for name, value in twin._buffers.items():
                    own = module._buffers.get(name)
                    if value is not None and own is not None and value is given.get(name):
                        own.copy_(value)
                    else:
                        module._buffers[name] = value if value is None else value.detach()
                module._non_persistent_buffers_set.update(twin._non_persistent_buffers_set)

    def _module(self, module: Module) -> Module:
        """The copy of a module."""
        memo = self._memo
        known = memo.get(id(module))
        if known is not None:
            return known
        own = module.__dict__.copy()
        if type(own["_parameters"]) is not dict and isinstance(module, torch.jit.ScriptModule):
            return module  # TorchScript keeps its tensors elsewhere
        # the constructor is not called, and nn.Module's rules for attributes do not apply
        twin = memo[id(module)] = object.__new__(type(module))
        object.__setattr__(twin, "__dict__", own)

        parameters = own["_parameters"] = own["_parameters"].copy()
        self.parameters += len(parameters)
        for name, value in parameters.items():
            if id(value) in memo:
                parameters[name] = memo[id(value)]
                self.replaced.add(id(value))
        buffers = own["_buffers"] = own["_buffers"].copy()
        if buffers and (own["training"] or not isinstance(module, _READ_ONLY_IN_EVALUATION)):
            for name, value in buffers.items():
                buffers[name] = self._buffer(value)
        if own["training"]:
            self._training.append((module, twin, buffers.copy()))
        own["_non_persistent_buffers_set"] = own["_non_persistent_buffers_set"].copy()
        modules = own["_modules"]
        own["_modules"] = {name: each if each is None else self._module(each) for name, each in modules.items()}

        names = [*own]
        # attributes follow those of nn.Module, unless some were set before its constructor was called
        others = names[_COUNT:] if names[:_COUNT] == MODULE_ATTRIBUTES else set(names).difference(MODULE_ATTRIBUTES)
        for name in others:
            if type(own[name]) not in _CONSTANTS:
                own[name] = self._value(own[name])
        for name in HOOKS:
            if own.get(name):
                own[name] = self._value(own[name])
        own.pop(COMPILED_CALL, None)  # made by Module.compile for the original, whose tensors it would read
        return twin

    def _buffer(self, buffer: Tensor | None) -> Tensor | None:
        """The copy of a buffer; the same one for a buffer in several places."""
        if buffer is None:
            return None
        known = self._memo.get(id(buffer))
        if known is None:
            known = self._memo[id(buffer)] = buffer.clone()
        return known

    def _value(self, value: Any, owned: bool = True) -> Any:
        """A value: the same, or where it refers to the target's modules or tensors, its copy.

        A list, set or dict that is `owned`, an attribute and not a variable of a function, is always copied.
        """
        if type(value) in _CONSTANTS:
            return value
        known = self._memo.get(id(value))
        if known is not None:
            return known
        if isinstance(value, nn.Module):
            return self._module(value)
        for kind, copied in _COPIED.items():
            if isinstance(value, kind):
                return copied(self, value, owned)
        return value

    def _values(self, values: Collection[Any], owned: bool) -> tuple[Collection[Any], bool]:
        """The values, and whether one of them is another object than before."""
        if _CONSTANTS.issuperset(map(type, values)):
            return values, False
        new = [self._value(value, owned) for value in values]
        return new, any(a is not b for a, b in zip(values, new, strict=True))

    def _list(self, value: list[Any], owned: bool) -> list[Any]:
        memo = self._memo
        new = memo[id(value)] = copy.copy(value) if owned else value  # now, since it may contain itself
        values, changed = self._values(value, owned)
        if changed:
            new = memo[id(value)] = copy.copy(value) if new is value else new
            new[:] = values
        return new

    def _set(self, value: set[Any], owned: bool) -> set[Any]:
        values, changed = self._values(value, owned)
        if not (changed or owned):
            return value
        new = self._memo[id(value)] = copy.copy(value)
        if changed:
            new.clear()
            new.update(values)
        return new

    def _dict(self, value: dict[Any, Any], owned: bool) -> dict[Any, Any]:
        memo = self._memo
        new = memo[id(value)] = copy.copy(value) if owned else value
        keys, changed_keys = self._values(value.keys(), owned)
        values, changed = self._values(value.values(), owned)
        if changed or changed_keys:
            new = memo[id(value)] = copy.copy(value) if new is value else new
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
        owner = self._value(value.__self__, owned=False)
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
        self._memo[id(value)] = value  # it may be in its own closure
        contents, changed = self._values([cell.cell_contents for cell in cells], owned=False)
        if not changed:
            return value
        filled = dict(zip(map(id, cells), map(types.CellType, contents), strict=True))
        closure = tuple(filled.get(id(cell), cell) for cell in value.__closure__ or ())
        new = types.FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
        new.__kwdefaults__ = value.__kwdefaults__
        new.__dict__.update(value.__dict__)
        self._memo[id(value)] = new
        return new

    def _reference(self, value: "weakref.ref[Any]", owned: bool) -> "weakref.ref[Any]":
        referred = value()
        new = self._value(referred, owned=False)
        return value if new is referred else weakref.ref(new)


_COPIED: dict[type, Callable[[Instance, Any, bool], Any]] = {
    tuple: Instance._tuple,
    list: Instance._list,
    dict: Instance._dict,
    set: Instance._set,
    types.MethodType: Instance._method,
    functools.partial: Instance._partial,
    types.FunctionType: Instance._function,
    weakref.ref: Instance._reference,
}


def _filled(cell: types.CellType) -> bool:
    """Whether a variable of a closure has a value."""
    return cell != types.CellType()
