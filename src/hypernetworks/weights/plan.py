"""What is the same in each copy of a target, found once: its modules, and what to look at in each of them.

A plan also keeps empty containers of former copies. A module has eight of its own, for parameters, buffers, submodules and
hooks. Most are empty, and to make them takes longer than all else in a copy.

Most modules are plain: all their attributes are numbers or the like. They are recorded and compared in each call, which takes
less time than to look at each of them again.
"""

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, compress
from operator import itemgetter
from typing import Any

import torch
from torch import nn

from hypernetworks.torch_compat import HOOK_OPTIONS, HOOKS, MODULE_ATTRIBUTES, is_compiled

CONTAINERS = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules", *HOOKS)
"""The attributes of a module that hold what it consists of and the functions run with it."""

containers: Callable[[Mapping[str, Any]], tuple[Any, ...]] = itemgetter(*CONTAINERS)
"""The values of these attributes, in a tuple."""

_MAKE: dict[str, type] = dict.fromkeys(HOOKS, OrderedDict) | {"_non_persistent_buffers_set": set}

CONSTANTS = frozenset(
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
    }
)
"""The types of values that refer to nothing."""


class PlanChangedError(Exception):
    """The target's modules or their attributes are not those of the plan."""


class Plan:
    """Of a target in one mode. The modules are those registered, and others that their attributes refer to, which `add` adds.

    A module of TorchScript is not copied: it keeps its tensors elsewhere. What torch.compile made of a module is left out for
    the module itself, whose tensors it would read, and so is a weak proxy.
    """

    def __init__(self, target: nn.Module) -> None:
        self.target = target
        self.modules: list[nn.Module] = []
        self.ids: list[int] = []
        self.kinds: list[type[nn.Module]] = []
        self.plain: list[bool] = []
        """Whether all attributes of each module are constants."""
        self.others: list[int] = []
        """The modules that are not plain, by their place in `modules`."""
        self.records: list[dict[str, Any]] = []
        """The attributes of each plain module."""
        self.empty: list[Any] = []
        """The containers of plain modules that are empty."""
        self.training: list[int] = []
        """The plain modules in training mode."""
        self.counts: list[int] = []
        """The number of attributes of each of the others."""
        self.sizes: list[int] = []
        """The lengths of their containers."""
        self.with_parameters: list[int] = []
        """The modules that have parameters, by their place in `modules`; in the same way those with buffers, and so on."""
        self.with_buffers: list[int] = []
        self.with_children: list[int] = []
        self.with_hooks: list[int] = []
        self.with_attributes: list[tuple[int, list[str]]] = []
        """Modules with attributes that may refer to modules or tensors, and the names of these."""
        self.with_slots: list[int] = []
        self.shared: dict[int, nn.Module] = {}
        self.stand_ins: dict[int, int] = {}
        """The ids of modules that a compiled one and a weak proxy stand for."""
        self.parts: SpareParts = SpareParts()
        self._seen: set[int] = set()
        self._proxies: list[nn.Module] = []  # so that their ids stay theirs
        self.add(target)

    def add(self, module: nn.Module) -> None:
        """Add a module and its submodules."""
        if id(module) in self._seen:
            return
        self._seen.add(id(module))
        if isinstance(module, torch.jit.ScriptModule):
            self.shared[id(module)] = module
            return
        inner = _stands_for(module)
        if inner is not None:
            self.stand_ins[id(module)] = id(inner)
            self._proxies.append(module)
            self.add(inner)
            return
        self._enter(module)
        for each in module._modules.values():
            if each is not None:
                self.add(each)

    def _enter(self, module: nn.Module) -> None:
        own, place = vars(module), len(self.modules)
        self.modules.append(module)
        self.ids.append(id(module))
        self.kinds.append(type(module))
        if own["_parameters"]:
            self.with_parameters.append(place)
        if own["_buffers"] or own["_non_persistent_buffers_set"]:
            self.with_buffers.append(place)
        if own["_modules"]:
            self.with_children.append(place)
        empty = [name for name in CONTAINERS if not own[name]]
        hooks = any(own[name] for name in HOOKS)
        if hooks:
            self.with_hooks.append(place)
            empty = [name for name in empty if name not in HOOKS]
        names = [name for name in own if name not in MODULE_ATTRIBUTES]
        if type(module).__module__.startswith("torch.nn.modules."):
            # torch's own classes do not come to keep modules in what is a number now
            names = [name for name in names if not is_constant(own[name])]
        if names:
            self.with_attributes.append((place, names))
        if any("__slots__" in vars(kind) for kind in type(module).__mro__):
            self.with_slots.append(place)
        plain = not (names or hooks)
        self.plain.append(plain)
        if plain:
            self.records.append(own.copy())
            if own["training"]:
                self.training.append(place)
            # which buffers are not persistent does not matter without buffers
            self.empty += [own[name] for name in empty if name != "_non_persistent_buffers_set"]
        else:
            self.others.append(place)
            self.counts.append(len(own))
            self.sizes.extend(map(len, containers(own)))
        self.parts.contents.append((self.records[-1] if plain else {}, empty, not hooks))

    def fits(self, originals: Sequence[dict[str, Any]]) -> bool:
        """Whether the modules, which have these attributes, are those of the plan.

        Not compared are the parameters, buffers and submodules of a module that has some, nor values of attributes of modules
        that are not plain: a copy reads these anew.
        """
        try:
            same = [*compress(originals, self.plain)] == self.records
        except (RuntimeError, ValueError):  # a tensor or an array, compared with a number
            return False
        others = [originals[place] for place in self.others]
        return (
            same
            and not any(self.empty)
            and [*map(len, others)] == self.counts
            and [*map(len, chain.from_iterable(map(containers, others)))] == self.sizes
        )


def _stands_for(module: nn.Module) -> nn.Module | None:
    """The module that torch.compile was given, or that a weak proxy refers to."""
    if isinstance(module, weakref.ProxyTypes):
        return module.__init__.__self__
    return next(module.children()) if is_compiled(module) else None


class Parts:
    """Attributes for all modules of one copy, with empty containers of their own.

    Args:
        contents: for each module the attributes that are the same in each copy, the names of its empty containers, and whether
            it shares the options of hooks.
    """

    def __init__(self, contents: list[tuple[dict[str, Any], list[str], bool]]) -> None:
        # the number of a hook is used once only, so all modules without hooks can share one dictionary of each option
        options = self._options = {name: OrderedDict() for name in HOOK_OPTIONS}
        self.of_modules: list[dict[str, Any]] = [
            same | {name: _MAKE.get(name, dict)() for name in empty} | (options if shares else {})
            for same, empty, shares in contents
        ]
        self._all = [*options.values()]
        self._all += [own[name] for own, (_, empty, _) in zip(self.of_modules, contents, strict=True) for name in empty]
        self._references = self._count()

    def _count(self) -> int:
        return sum(map(sys.getrefcount, self._all))

    def are_empty(self) -> bool:
        """Whether nothing was put into them."""
        return not any(self._all)

    def are_free(self) -> bool:
        """Whether they are empty, and nothing refers to them any more."""
        return self.are_empty() and self._count() == self._references


class SpareParts:
    """The parts of former copies. They are given to the next copy if nothing refers to them any more."""

    LIMIT = 4

    def __init__(self) -> None:
        self.contents: list[tuple[dict[str, Any], list[str], bool]] = []
        self._spare: list[Parts] = []

    def take(self) -> Parts:
        """Parts that nobody else has."""
        try:
            parts = self._spare.pop()  # no other thread gets them
        except IndexError:
            return Parts(self.contents)
        return parts if parts.are_free() else Parts(self.contents)

    def give(self, parts: Parts) -> None:
        """Return the parts of a copy, which may still be used. What the target has put into them must not live on here."""
        if len(self._spare) < self.LIMIT and parts.are_empty():
            self._spare.append(parts)


def is_constant(value: Any) -> bool:
    """Whether a value is a number or the like, or a tuple of them."""
    return type(value) in CONSTANTS or (type(value) is tuple and CONSTANTS.issuperset(map(type, value)))


def are_constants(values: Any) -> bool:
    """Whether all values are numbers or the like."""
    return CONSTANTS.issuperset(map(type, values))
