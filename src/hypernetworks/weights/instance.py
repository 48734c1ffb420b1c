"""A target with given tensors in place of its own, for one call: a shallow copy of its tree of modules.

Every module is copied once, however many names it has. A copy has its own dictionaries of attributes, parameters, buffers and
submodules, so whatever is assigned while it runs stays in it, and the target is never written. Calls can therefore overlap:
threads, a second forward pass before a backward pass, or a recomputation by torch.utils.checkpoint each see their own tensors,
which live for as long as something refers to them.

    parameters    the given tensors, in every place that holds the Parameter; all others are shared
    buffers       copies; `write_back` gives those of modules in training mode to the target
    attributes    shared, except what refers to the target's modules or tensors (bound methods, partials, closures, lists,
                  objects), which refers to the copies instead, and lists, sets and dicts, which are copied
"""

import copy
import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.torch_compat import COMPILED_CALL, HOOK_OPTIONS, HOOKS, MODULE_ATTRIBUTES, is_compiled, was_written

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
_NOT_SEARCHED = (Tensor, type, types.ModuleType)
_new, _set_attributes = object.__new__, nn.Module.__dict__["__dict__"].__set__
_READ_ONLY_IN_EVALUATION = nn.modules.batchnorm._NormBase


class PlanChangedError(Exception):
    """The target's modules or their attributes are not those of the plan."""

    def __init__(self, module: nn.Module | None = None) -> None:
        super().__init__()
        self.module = module
        """A module that the plan does not have, if this is the reason."""


class Plan:
    """What is the same in each copy of a target, found once: its modules, and which of their attributes to look at.

    The modules are those registered, and others that their attributes refer to. A module of TorchScript is not copied: it keeps
    its tensors elsewhere. What torch.compile made of a module is left out for the module itself, whose tensors it would read.
    """

    def __init__(self, target: nn.Module) -> None:
        self.target = target
        self.modules: list[nn.Module] = []
        self.ids: list[int] = []
        self.kinds: list[type[nn.Module]] = []
        self.entries: list[tuple[int, list[str], dict[str, Any], list[tuple[str, int]]]] = []
        """The number of a module's attributes, those to look at, its submodules, and the ids of those that are not None."""
        self.shared: dict[int, nn.Module] = {}
        self.compiled: dict[int, int] = {}
        """The id of the module that a compiled one stands for."""
        self._seen: set[int] = set()
        self._add(target)
        while unknown := self._unknown_module():
            self._add(unknown[0])

    def _unknown_module(self) -> tuple[nn.Module, ...]:
        """A module that attributes refer to, and that is not in the plan."""
        try:
            Instance(self, {})
        except PlanChangedError as found:
            return () if found.module is None else (found.module,)
        return ()

    def _add(self, module: nn.Module) -> None:
        """Add a module and its submodules."""
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        if isinstance(module, torch.jit.ScriptModule):
            self.shared[id(module)] = module
            return
        if is_compiled(module):
            (inner,) = module.children()
            self.compiled[id(module)] = id(inner)
            self._add(inner)
            return
        self.modules.append(module)
        self.ids.append(id(module))
        self.kinds.append(type(module))
        own = module.__dict__
        names = [name for name in own if name not in MODULE_ATTRIBUTES]
        if type(module).__module__.startswith("torch.nn.modules."):
            # torch's own classes do not come to keep modules in what is a number now
            names = [name for name in names if not _is_constant(own[name])]
        links = [(name, id(each)) for name, each in module._modules.items() if each is not None]
        self.entries.append((len(own), names, dict(module._modules), links))
        for each in module._modules.values():
            if each is not None:
                self._add(each)


class Copier:
    """Makes instances of a target, and plans again when the target has changed."""

    def __init__(self, target: nn.Module) -> None:
        self.target = target
        self._plan: Plan | None = None
        self.checked: int | None = None
        """The number of places that hold parameters when the target was last checked; None if it has changed since."""

    def __reduce__(self) -> Any:
        """A copy plans for its own target."""
        return Copier, (self.target,)

    def instance(self, tensors: Mapping[int, Tensor]) -> "Instance":
        """Make a copy of the target with these tensors in place of the parameters with these ids."""
        if self._plan is not None:
            try:
                return Instance(self._plan, tensors)
            except PlanChangedError:
                pass
        plan = self._plan = Plan(self.target)
        self.checked = None
        return Instance(plan, tensors)


class Instance:
    """A copy of a target for one call, `module`, in which `tensors` replace the target's parameters.

    Args:
        plan: of the target.
        tensors: the new tensors, by the id of the parameter that each replaces.

    Raises:
        PlanChangedError: the target needs a new plan.
    """

    def __init__(self, plan: Plan, tensors: Mapping[int, Tensor]) -> None:
        kinds = [*map(type, plan.modules)]
        if kinds != plan.kinds:
            raise PlanChangedError
        twins = [*map(_new, kinds)]  # the constructors are not called
        memo = self._memo = {**plan.shared, **dict(zip(plan.ids, twins, strict=True)), **tensors}
        for compiled, module in reversed(plan.compiled.items()):
            memo[compiled] = memo[module]
        self._training: list[tuple[nn.Module, nn.Module, dict[str, Tensor | None]]] = []
        self._evaluation: list[tuple[nn.Module, dict[str, Tensor | None]]] = []
        self._in_object = False
        self.replaced: set[int] = set()
        """The ids of the parameters that were replaced."""
        self.parameters = 0
        """The number of places that hold parameters."""
        # the number of a hook is used once only, so all modules without hooks can share one dictionary of each option
        options = {name: OrderedDict() for name in HOOK_OPTIONS}
        # a call copies all modules of the target, so this loop has few lines
        for module, twin, (count, names, children, links) in zip(plan.modules, twins, plan.entries, strict=True):
            own = module.__dict__.copy()
            if len(own) != count or own["_modules"] != children:
                raise PlanChangedError
            _set_attributes(twin, own)  # nn.Module's rules for attributes do not apply
            own["_modules"] = modules = children.copy() if children else {}
            for name, key in links:
                modules[name] = memo[key]
            if parameters := own["_parameters"]:
                own["_parameters"] = parameters = parameters.copy()
                self.parameters += len(parameters)
                for name, value in parameters.items():
                    if id(value) in memo:
                        parameters[name] = memo[id(value)]
                        self.replaced.add(id(value))
            else:
                own["_parameters"] = {}
            if buffers := own["_buffers"]:
                own["_buffers"] = buffers = buffers.copy()
                own["_non_persistent_buffers_set"] = own["_non_persistent_buffers_set"].copy()
                if module.training:
                    self._buffers(buffers)
                elif not isinstance(module, _READ_ONLY_IN_EVALUATION):
                    self._buffers(buffers)
                    self._evaluation.append((module, buffers.copy()))
            else:
                own["_buffers"], own["_non_persistent_buffers_set"] = {}, set()
            if module.training:
                self._training.append((module, twin, own["_buffers"].copy()))
            for name in names:
                try:
                    value = own[name]
                except KeyError:
                    raise PlanChangedError from None
                if type(value) not in _CONSTANTS and not _is_constant(value):
                    # what compile() made for the module itself would read its tensors
                    own[name] = None if name == COMPILED_CALL else self._value(value)
            for name in HOOKS:
                # a target may register hooks while it runs
                own[name] = self._value(own[name]) if own[name] else OrderedDict()
            for name in HOOK_OPTIONS:
                own[name] = own[name].copy() if own[name] else options[name]
        self.module = memo[id(plan.target)]

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

    def lost_buffers(self) -> list[tuple[nn.Module, str]]:
        """Modules in evaluation mode, and the name of a buffer that was changed in place and is not written back."""
        return [
            (module, name)
            for module, buffers in self._evaluation
            for name, buffer in buffers.items()
            if buffer is not None and was_written(buffer)
        ]

    def _buffers(self, buffers: dict[str, Tensor | None]) -> None:
        """Copy the buffers of a module, once for several places."""
        for name, buffer in buffers.items():
            if buffer is not None:
                if id(buffer) not in self._memo:
                    self._memo[id(buffer)] = buffer.clone()
                buffers[name] = self._memo[id(buffer)]

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
            raise PlanChangedError(value)
        for kind, copied in _COPIED.items():
            if isinstance(value, kind):
                return copied(self, value, owned)
        return self._object(value)

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

    def _object(self, value: Any) -> Any:
        """An object of another class that itself holds modules. Objects that it holds are not searched: they may be many."""
        if self._in_object or isinstance(value, _NOT_SEARCHED) or not hasattr(value, "__dict__"):
            return value
        self._memo[id(value)] = value
        self._in_object = True
        values, changed = self._values(vars(value).values(), owned=False)
        self._in_object = False
        if not changed:
            return value
        new = self._memo[id(value)] = copy.copy(value)
        vars(new).update(zip(vars(value), values, strict=True))
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


def _is_constant(value: Any) -> bool:
    """Whether a value is a number or the like, or a tuple of them."""
    return type(value) in _CONSTANTS or (type(value) is tuple and _CONSTANTS.issuperset(map(type, value)))
