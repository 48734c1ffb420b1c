"""A target with given tensors in place of its own, for one call: a shallow copy of its tree of modules.

Every module is copied once, however many names it has. A copy has its own dictionaries of attributes, parameters, buffers and
submodules, so whatever is assigned while it runs stays in it, and the target is never written. Calls can therefore overlap:
threads, a second forward pass before a backward pass, or a recomputation by torch.utils.checkpoint each see their own tensors,
which live for as long as something refers to them.

    parameters    the given tensors, in every place that holds the Parameter; all others are shared. Generated tables have
                  dense gradients
    buffers       copies; `write_back` gives those of modules in training mode to the target
    attributes    shared, except what refers to the target's modules or tensors, see `references.py`
"""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.torch_compat import COMPILED_CALL, HOOK_OPTIONS, HOOKS, was_written
from hypernetworks.weights.plan import Plan, PlanChangedError, is_constant
from hypernetworks.weights.references import References, UnknownModuleError, slots_of

_new = object.__new__  # the constructors are not called
# nn.Module's rules for attributes do not apply
_attributes, _set_attributes = nn.Module.__dict__["__dict__"].__get__, nn.Module.__dict__["__dict__"].__set__
_READ_ONLY_IN_EVALUATION = nn.modules.batchnorm._NormBase

TABLES = (nn.Embedding, nn.EmbeddingBag)
"""Modules that can have sparse gradients. A generated table has dense ones: nothing that generates takes others."""


class Copier:
    """Makes instances of a target, and plans again when the target has changed."""

    def __init__(self, target: nn.Module) -> None:
        self.target = target
        self._plans: dict[bool, Plan] = {}
        """In training mode and in evaluation mode, between which a target changes often."""
        self.checked: int | None = None
        """The number of places that hold parameters when the target was last checked; None if it has changed since."""

    def __reduce__(self) -> Any:
        """A copy plans for its own target."""
        return Copier, (self.target,)

    def instance(self, tensors: Mapping[int, Tensor]) -> "Instance":
        """Make a copy of the target with these tensors in place of the parameters with these ids."""
        mode = self.target.training
        if mode in self._plans:
            try:
                return Instance(self._plans[mode], tensors)
            except PlanChangedError:
                pass
        plan = Plan(self.target)
        while True:
            try:
                instance = Instance(plan, tensors)
            except UnknownModuleError as found:
                plan.add(found.module)
                continue
            self._plans[mode], self.checked = plan, None
            return instance


class Instance:
    """A copy of a target for one call, `module`, in which `tensors` replace the target's parameters.

    Args:
        plan: of the target.
        tensors: the new tensors, by the id of the parameter that each replaces.

    Raises:
        PlanChangedError: the target needs a new plan.
    """

    def __init__(self, plan: Plan, tensors: Mapping[int, Tensor]) -> None:
        # A call copies all modules of the target. What is done for each of them is done by functions of C.
        modules = plan.modules
        originals = [*map(_attributes, modules)]
        if [*map(type, modules)] != plan.kinds or not plan.fits(originals):
            raise PlanChangedError
        self._plan, self._parts = plan, plan.parts.take()
        self._own: list[dict[str, Any]] = [*map(dict.copy, self._parts.of_modules)]
        for place in plan.others:
            self._own[place] = originals[place] | self._own[place]
        twins = [*map(_new, plan.kinds)]
        deque(map(_set_attributes, twins, self._own), maxlen=0)
        self._copies: dict[int, Any] = dict(zip(plan.ids, twins, strict=True))
        self._copies.update(plan.shared)
        self._copies.update(tensors)
        for stand_in, module in reversed(plan.stand_ins.items()):
            self._copies[stand_in] = self._copies[module]
        self.replaced: set[int] = set()
        """The ids of the parameters that were replaced."""
        self._replace_children(originals)
        self._replace_parameters(originals, tensors)
        self._given: dict[int, dict[str, Tensor | None]] = {}
        """The buffers that a module got, by its place in the plan."""
        self._copy_buffers(originals)
        self._training = plan.training + [place for place in plan.others if originals[place]["training"]]
        self._copy_attributes()
        self.module: nn.Module = self._copies[id(plan.target)]

    def _replace_children(self, originals: Sequence[Mapping[str, Any]]) -> None:
        copies = self._copies
        for place in self._plan.with_children:
            own = self._own[place]
            own["_modules"] = children = originals[place]["_modules"].copy()
            for name, child in children.items():
                if child is not None:
                    try:
                        children[name] = copies[id(child)]
                    except KeyError:
                        raise PlanChangedError from None

    def _replace_parameters(self, originals: Sequence[Mapping[str, Any]], tensors: Mapping[int, Tensor]) -> None:
        count = 0
        for place in self._plan.with_parameters:
            own = self._own[place]
            own["_parameters"] = parameters = originals[place]["_parameters"].copy()
            count += len(parameters)
            for name, value in parameters.items():
                if id(value) in tensors:
                    parameters[name] = tensors[id(value)]
                    self.replaced.add(id(value))
                    if own.get("sparse") and issubclass(self._plan.kinds[place], TABLES):
                        own["sparse"] = False
        self.parameters: int = count
        """The number of places that hold parameters."""

    def _copy_buffers(self, originals: Sequence[Mapping[str, Any]]) -> None:
        """Copy buffers, once for several places. BatchNorm does not change them in evaluation mode, where they are shared."""
        copies = self._copies
        for place in self._plan.with_buffers:
            original, own = originals[place], self._own[place]
            own["_buffers"] = buffers = original["_buffers"].copy()
            own["_non_persistent_buffers_set"] = original["_non_persistent_buffers_set"].copy()
            if not own["training"] and isinstance(self._plan.modules[place], _READ_ONLY_IN_EVALUATION):
                continue
            for name, buffer in buffers.items():
                if buffer is not None:
                    if id(buffer) not in copies:
                        copies[id(buffer)] = buffer.clone()
                    buffers[name] = copies[id(buffer)]
            self._given[place] = buffers.copy()

    def _copy_attributes(self) -> None:
        references = References(self._copies)
        for place in self._plan.with_hooks:  # before attributes: a handle refers to the dictionary of its hook
            own = self._own[place]
            for name in HOOKS:
                # a target may register hooks while it runs
                own[name] = references.copied(own[name]) if own[name] else OrderedDict()
            for name in HOOK_OPTIONS:
                own[name] = references.copied(own[name])
        for place, names in self._plan.with_attributes:
            own = self._own[place]
            for name in names:
                try:
                    value = own[name]
                except KeyError:
                    raise PlanChangedError from None
                if not is_constant(value):
                    # what compile() made for the module itself would read its tensors
                    own[name] = None if name == COMPILED_CALL else references.copied(value)

        for place in self._plan.with_slots:
            twin = self._copies[self._plan.ids[place]]
            for name, value in slots_of(self._plan.modules[place]).items():
                object.__setattr__(twin, name, references.copied(value))

    def write_back(self) -> None:
        """Give the target the buffers of its modules in training mode: changed in place, assigned or registered."""
        for place in self._training:
            if self._own[place]["_buffers"]:
                self._write_buffers(place)
        self._plan.parts.give(self._parts)

    @torch.no_grad()
    def _write_buffers(self, place: int) -> None:
        module, own, given = self._plan.modules[place], self._own[place], self._given.get(place, {})
        for name, value in own["_buffers"].items():
            buffer = module._buffers.get(name)
            if value is not None and buffer is not None and value is given.get(name):
                buffer.copy_(value)
            else:
                module._buffers[name] = value if value is None else value.detach()
        module._non_persistent_buffers_set.update(own["_non_persistent_buffers_set"])

    def lost_buffers(self) -> list[tuple[nn.Module, str]]:
        """Modules in evaluation mode, and the name of a buffer that was changed in place and is not written back."""
        return [
            (self._plan.modules[place], name)
            for place, buffers in self._given.items()
            if place not in self._training
            for name, buffer in buffers.items()
            if buffer is not None and was_written(buffer)
        ]
