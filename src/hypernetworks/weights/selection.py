"""Selects which parameters of a target are generated, and describes each to the generator.

Parameters are selected by None (all), by type (nn.Conv2d, or a tuple of types), by a glob over names ("layer2.*", "*.weight"),
or by a predicate (module name, module, parameter name) -> bool.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from inspect import Parameter as Argument
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernetworks.weights.layout import Layout, fans, layout_of

Modules = type[nn.Module] | tuple[type[nn.Module], ...] | str | Callable[..., bool] | None

_NORMS_AND_TABLES = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.EmbeddingBag)


class TargetWeight(NamedTuple):
    """A parameter of the target that will be generated."""

    name: str
    """Its name in target.named_parameters()."""
    value: Tensor
    """The target's own value: it has the shape, dtype and device, and generators may start at it or act on it."""
    module: nn.Module
    """The module that holds it."""
    module_name: str
    """The name of that module in the target; "" for the target itself."""
    kind: str
    """"weight" (a matrix or kernel), "bias" (of the same layer), or "other" (a norm's gain, an embedding table, ...)."""
    fan_in: float
    """n_in of the layer, including the receptive field; 0 for kind "other". Strides make it an average."""
    fan_out: float
    """n_out of the layer, including the receptive field; 0 for kind "other". Strides make it an average."""
    partner: bool
    """Whether the bias (for a weight) or weight (for a bias) of the same layer is generated too."""
    layout: Layout = Layout()
    """How a matrix or kernel is stored: whether its rows, the outputs, come first."""

    @property
    def shape(self) -> torch.Size:
        """The shape of the parameter."""
        return self.value.shape

    @property
    def own_name(self) -> str:
        """The name of the parameter in its module."""
        return self.name.rpartition(".")[2]


def select(target: nn.Module, modules: Modules) -> list[TargetWeight]:
    """The parameters of the target that `modules` selects, in the target's order.

    Raises:
        ValueError: no parameter is selected.
    """
    chosen = selector(modules)
    found = [weight for weight in _weights(target) if chosen(weight)]
    if not found:
        raise ValueError(f"modules={_shown(modules)} selects no parameter of {type(target).__name__}: {_names(target)}")
    return found


def with_partners(weights: list[TargetWeight]) -> list[TargetWeight]:
    """The weights with `partner` set: whether the bias or weight of the same layer is among them."""
    names = {weight.name for weight in weights}
    return [weight._replace(partner=_partner(weight) in names) for weight in weights]


def selector(modules: Modules) -> Callable[[TargetWeight], bool]:
    """Make a function that returns whether a parameter is selected.

    Raises:
        TypeError: `modules` is not a selection.
    """
    if modules is None:
        return lambda weight: True
    if isinstance(modules, str):
        return lambda weight: fnmatchcase(weight.name, modules) or fnmatchcase(weight.module_name, modules)
    if isinstance(modules, type) or _types(modules):
        return lambda weight: isinstance(weight.module, modules)  # pyright: ignore[reportArgumentType]
    if callable(modules):
        if _takes(modules) >= 3:
            return lambda weight: bool(modules(weight.module_name, weight.module, weight.own_name))
        return lambda weight: bool(modules(weight.module_name, weight.module))
    raise TypeError(f"modules should be a module type, a tuple of them, a glob, a predicate or None, got {modules!r}")


def _types(modules: Any) -> bool:
    return isinstance(modules, tuple) and bool(modules) and all(isinstance(kind, type) for kind in modules)


def _takes(predicate: Callable[..., bool]) -> int:
    """The number of positional arguments of a predicate."""
    given = signature(predicate).parameters.values()
    if any(each.kind is Argument.VAR_POSITIONAL for each in given):
        return 3
    return sum(each.kind in (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD) for each in given)


def _weights(target: nn.Module) -> Iterator[TargetWeight]:
    """Every parameter once, under its first name."""
    seen: set[int] = set()
    for module_name, module in target.named_modules():
        for own_name, value in module.named_parameters(recurse=False):
            if id(value) in seen:
                continue
            seen.add(id(value))
            kind, matrix = _kind(module, own_name, value)
            n_in, n_out = (0, 0) if matrix is None else fans(module, matrix)
            layout = layout_of(module) if kind == "weight" else Layout()
            name = f"{module_name}.{own_name}" if module_name else own_name
            yield TargetWeight(name, value, module, module_name, kind, n_in, n_out, partner=False, layout=layout)


def _kind(module: nn.Module, own_name: str, value: Tensor) -> tuple[str, Tensor | None]:
    """The kind of a parameter, and the matrix or kernel of its layer."""
    weight = getattr(module, "weight", None)
    if (
        isinstance(module, _NORMS_AND_TABLES)
        or own_name.startswith("bias_")
        or (own_name == "bias" and value.dim() != 1)
    ):
        return "other", None
    if value.dim() >= 2:
        return "weight", value
    if own_name == "bias" and isinstance(weight, Tensor) and weight.dim() >= 2:
        return "bias", weight
    return "other", None


def _partner(weight: TargetWeight) -> str:
    """The name of the bias (for a weight) or weight (for a bias) of the same layer."""
    other = {"weight": "bias", "bias": "weight"}.get(weight.own_name, "")
    return f"{weight.module_name}.{other}" if weight.module_name else other


def _shown(modules: Any) -> str:
    return getattr(modules, "__name__", None) or repr(modules)


def _names(target: nn.Module) -> str:
    names = [weight.name for weight in _weights(target)]
    if not names:
        return "it has none"
    return "its parameters are " + ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
