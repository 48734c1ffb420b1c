"""Selects which parameters of a target are generated, and describes each to the generator.

Parameters are selected by None (all), by type (nn.Conv2d), by a glob over names ("layer2.*", "*.weight"), by a predicate
(module name, module, parameter name) -> bool, or by a tuple or list of these, of which one suffices. A tied parameter has
several names and modules, of which one suffices, too.
"""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from inspect import Parameter as Argument
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernetworks.weights.storage import Storage, fans, storage_of

Modules = type[nn.Module] | str | Callable[..., bool] | Sequence[Any] | None

_NORMS_AND_TABLES = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.EmbeddingBag)


class TargetWeight(NamedTuple):
    """A parameter of the target that will be generated.

    A generator gets one for each of its parameters, in `Generator.build`.

    Example:
        >>> from hypernetworks.weights.selection import select
        >>> weight, bias = select(torch.nn.Linear(3, 2), None)
        >>> weight.name, weight.kind, weight.shape, weight.fan_in
        ('weight', 'weight', torch.Size([2, 3]), 3)
    """

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
    storage: Storage = Storage()
    """How a matrix or kernel is stored: whether its rows, the outputs, come first."""
    ties: tuple[tuple[str, nn.Module], ...] = ()
    """Further names of a tied parameter, each with its module. Kind, fans and storage are those of the first name."""

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
        ValueError: no parameter is selected, or none by one of several globs; or a parameter has no shape or numbers yet.
        TypeError: `modules` is not a selection, or a selected parameter is not of a floating point dtype.
    """
    weights = list(_weights(target))
    globs = [part for part in modules if isinstance(part, str)] if isinstance(modules, tuple | list) else []
    for part in (modules, *globs):
        if not any(map(selector(part), weights)):
            raise ValueError(
                f"modules={_shown(part)} selects no parameter of {type(target).__name__}: {_names(weights)}"
            )
    found = list(filter(selector(modules), weights))
    for weight in found:
        if not weight.value.is_floating_point():
            raise TypeError(f"generated parameters should be floating point, but {weight.name} is {weight.value.dtype}")
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
    if isinstance(modules, tuple | list) and modules:
        parts = [selector(part) for part in modules]
        return lambda weight: any(part(weight) for part in parts)
    selects = _place_selector(modules)
    return lambda weight: any(selects(*place) for place in _places(weight))


def _place_selector(modules: Any) -> Callable[[str, str, nn.Module], bool]:
    """Make a function (name, module name, module) -> bool from one type, glob or predicate."""
    if isinstance(modules, str):
        return lambda name, module_name, module: fnmatchcase(name, modules) or fnmatchcase(module_name, modules)
    if isinstance(modules, type) and issubclass(modules, nn.Module):
        return lambda name, module_name, module: isinstance(module, modules)
    if callable(modules) and not isinstance(modules, type):
        if _takes(modules) >= 3:
            return lambda name, module_name, module: bool(modules(module_name, module, name.rpartition(".")[2]))
        return lambda name, module_name, module: bool(modules(module_name, module))
    expected = "a module type, a glob, a predicate, a tuple of these, or None"
    raise TypeError(f"modules should be {expected}, got {modules!r}")


def _places(weight: TargetWeight) -> Iterator[tuple[str, str, nn.Module]]:
    """Every name of a parameter, with the name of its module and the module."""
    for name, module in ((weight.name, weight.module), *weight.ties):
        yield name, name.rpartition(".")[0], module


def _takes(predicate: Callable[..., Any]) -> int:
    """The number of positional arguments of a predicate."""
    given = signature(predicate).parameters.values()
    if any(each.kind is Argument.VAR_POSITIONAL for each in given):
        return 3
    return sum(each.kind in (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD) for each in given)


def _weights(target: nn.Module) -> Iterator[TargetWeight]:
    """Every parameter once, under its first name.

    Raises:
        ValueError: a parameter is not initialised, as in a lazy module before its first call.
    """
    places: dict[nn.Parameter, list[tuple[str, nn.Module]]] = {}
    for module_name, module in target.named_modules(remove_duplicate=False):
        for own_name, value in module.named_parameters(recurse=False, remove_duplicate=False):
            name = f"{module_name}.{own_name}" if module_name else own_name
            places.setdefault(value, []).append((name, module))
    for value, ((name, module), *ties) in places.items():
        if isinstance(value, nn.UninitializedParameter):
            raise ValueError(
                f"{name} has no shape yet: run the target, a lazy {type(module).__name__}, on an input first"
            )
        module_name, _, own_name = name.rpartition(".")
        kind, matrix = _kind(module, own_name, value)
        n_in, n_out = (0, 0) if matrix is None else fans(module, matrix)
        storage = storage_of(module) if kind == "weight" else Storage()
        yield TargetWeight(name, value, module, module_name, kind, n_in, n_out, False, storage, tuple(ties))


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


def _names(weights: Sequence[TargetWeight]) -> str:
    names = [weight.name for weight in weights]
    if not names:
        return "it has none"
    return "its parameters are " + ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
