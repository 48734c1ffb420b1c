"""One call of a target with generated tensors in place of its own parameters.

    CopiedCall    runs an `Instance`, a copy of the target's modules that holds the tensors
    TracedCall    puts the tensors into the target for the time of the call, as torch.func.functional_call does, since
                  torch.compile and torch.export can trace that; while they trace, nothing else runs

Both give the buffers of modules in training mode back to the target when `write_back` is called, that is, after the target has
succeeded. Nothing else is written into the target.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.torch_compat import is_exporting, replaced_tensors
from hypernetworks.weights.callers import level_outside
from hypernetworks.weights.instance import TABLES, Instance


def is_traced() -> bool:
    """Whether torch.compile or torch.export traces what runs."""
    return torch.compiler.is_compiling() or is_exporting()


class CopiedCall:
    """A call of copies of the target's modules.

    Args:
        target: the module.
        own: the target's own tensors that are replaced, by name.
        instance: makes a copy of the target with tensors of these names.
    """

    def __init__(
        self,
        target: nn.Module,
        own: Mapping[str, Tensor],
        instance: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Instance],
    ) -> None:
        self._target = target
        self._own = own
        self._make = instance
        self._instance: Instance | None = None

    def adapted(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        """A copy of the target with the tensors of these names."""
        self._instance = self._make(self._own, tensors)
        return self._instance.module

    def __call__(self, tensors: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run the target with the tensors of these names."""
        return self.adapted(tensors)(*args, **kwargs)

    def write_back(self) -> None:
        """Give the target the buffers of its modules in training mode."""
        if self._instance is None:
            return
        self._instance.write_back()
        for module, name in self._instance.lost_buffers():
            owner = next((prefix for prefix, each in self._target.named_modules() if each is module), "")
            warnings.warn(
                f"the buffer {owner + '.' if owner else ''}{name} of the target was changed in evaluation mode, which has no "
                "effect on the target: to keep it from call to call, use `with net.using(condition) as adapted`",
                RuntimeWarning,
                stacklevel=level_outside(),
            )


class TracedCall:
    """A call of the target itself, as torch.func.functional_call does it.

    Each place that holds a tensor is given by exactly one name: given twice, under two names of its module, it would keep the
    new tensor.

    Args:
        target: the module.
        places: the names of the places that hold each tensor, by its name.
    """

    def __init__(self, target: nn.Module, places: Mapping[str, Sequence[str]]) -> None:
        self._target = target
        self._places = places
        self._buffers = {
            place: buffer
            for prefix, module in target.named_modules()
            if module.training
            for place, buffer in module.named_buffers(prefix, recurse=False, remove_duplicate=False)
        }
        self._copies: dict[str, Tensor] = {}
        for place, buffer in self._buffers.items():
            same = [copied for other, copied in self._copies.items() if self._buffers[other] is buffer]
            self._copies[place] = same[0] if same else buffer.clone()
        generated = {place.rpartition(".")[0] for own in places.values() for place in own}
        self._sparse = [
            module
            for prefix, module in target.named_modules()
            if isinstance(module, TABLES) and module.sparse and prefix in generated
        ]

    def __call__(self, tensors: Mapping[str, Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run the target with the tensors of these names."""
        given = {place: tensors[name] for name, places in self._places.items() for place in places} | self._copies
        for module in self._sparse:
            module.sparse = False
        try:
            with replaced_tensors(self._target, given):
                result = self._target(*args, **kwargs)
                self._copies = {place: self._target.get_buffer(place) for place in self._copies}  # some may be assigned
        finally:
            for module in self._sparse:
                module.sparse = True
        return result

    def write_back(self) -> None:
        """Give the target the buffers of its modules in training mode."""
        with torch.no_grad():
            for place, buffer in self._buffers.items():
                buffer.copy_(self._copies[place])


Call = CopiedCall | TracedCall
