"""A call-local copy of a module tree (stand-in)."""

from collections.abc import Mapping

from torch import Tensor, nn


def instance(target: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A copy of the module tree that holds these tensors."""
    copies: dict[int, nn.Module] = {}

    def copied(module: nn.Module) -> nn.Module:
        if id(module) not in copies:
            made = object.__new__(type(module))
            made.__dict__.update(module.__dict__)
            copies[id(module)] = made
            for slot in ("_parameters", "_buffers"):
                made.__dict__[slot] = dict(module.__dict__[slot])
            made.__dict__["_modules"] = {
                name: None if child is None else copied(child) for name, child in module._modules.items()
            }
        return copies[id(module)]

    made = copied(target)
    by_value = {
        id(value): tensors[name]
        for name, value in [*target.named_parameters(), *target.named_buffers()]
        if name in tensors
    }
    for module in copies.values():
        for slot in ("_parameters", "_buffers"):
            own = module.__dict__[slot]
            own.update({name: by_value[id(value)] for name, value in own.items() if id(value) in by_value})
    return made
