"""Checks of what a HyperNetwork is given: a target, selected parameters, and weights that were generated before."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from hypernetworks.weights.forms import Form
from hypernetworks.weights.selection import TargetWeight

_WHOLE = (int, torch.SymInt)
"""Whole numbers, also in a graph that is traced."""


def check_target(target: nn.Module) -> None:
    """Check that a target has all its tensors.

    Raises:
        ValueError: a module is lazy and has not been initialised.
    """
    for name, module in target.named_modules():
        if isinstance(module, LazyModuleMixin):
            place = f"{name or 'the target'}, a {type(module).__name__},"
            raise ValueError(f"{place} has no parameters yet: call the target once on an input before you wrap it")


def check_selected(weights: Sequence[TargetWeight]) -> None:
    """Check that parameters can be replaced by generated tensors.

    Raises:
        ValueError: a parameter is held by a module of TorchScript.
    """
    for weight in weights:
        if isinstance(weight.module, torch.jit.ScriptModule):
            raise ValueError(
                f"{weight.name} is in a module of TorchScript, which cannot be given other tensors: "
                "select other parameters, or use the module that was scripted or traced"
            )


def check_condition(size: int | None, name: str, condition: Tensor | None) -> None:
    """Check the condition of the generator `name`: (size,) or (B, size), or None if the generator takes none.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is missing, not taken, or has another shape.
    """
    if size is None:
        if condition is not None:
            raise ValueError(f"{name} takes no condition, got one")
        return
    expected = f"({size},) or (batch, {size})"
    if condition is None:
        raise ValueError(f"condition is missing: {name} needs one of shape {expected}; pass it by name, condition=...")
    if not isinstance(condition, Tensor):
        raise TypeError(f"condition should be a tensor of shape {expected}, got {type(condition).__name__}")
    if condition.dim() not in (1, 2) or condition.shape[-1] != size:
        raise ValueError(f"condition should have shape {expected}, got {tuple(condition.shape)}")


def check_names(
    made: Mapping[str, Any], own: Mapping[str, Tensor], rule: str, places: Mapping[str, Sequence[str]]
) -> None:
    """Check that tensors have the names of the target's own tensors that they replace.

    Args:
        made: the tensors.
        own: the target's own.
        rule: starts the message.
        places: all names of each tensor: further ones are those of a tied parameter.

    Raises:
        ValueError: a name is missing or unknown.
    """
    if made.keys() != own.keys():
        missing, unknown = [name for name in own if name not in made], [name for name in made if name not in own]
        tied = [f"{name} is tied to {first}" for first in own for name in places[first] if name in unknown]
        raise ValueError(", ".join((f"{rule}: missing {missing}", f"unknown {unknown}", *tied)))


def check_shapes(
    made: Mapping[str, Form | Tensor], own: Mapping[str, Tensor], name: str, condition: Tensor | None
) -> None:
    """Check what the generator `name` made: tensors of the shapes of the target's own, preceded by B for a condition (B, C).

    A tensor that is the same for all samples may lack B, but not all tensors may.

    Raises:
        ValueError: a shape is another, or all tensors lack B.
    """
    batch = () if condition is None else condition.shape[:-1]
    shared = 0
    for key, value in own.items():
        each = made[key]
        if not batch and each.shape == value.shape:
            continue  # in each call with one set: tuples would take several times as long
        shape = (each.samples, *each.shape) if isinstance(each, Form) else tuple(each.shape)
        expected = (*batch, *value.shape)
        shared += shape != expected and shape == value.shape
        if shape not in (expected, value.shape) or shared == len(own):
            given = "" if condition is None else f" for a condition of shape {tuple(condition.shape)}"
            why = "" if shared < len(own) else ": all samples would have the same weights"
            raise ValueError(f"{name} should return {key} of shape {expected}{given}, got {shape}{why}")


def check_weights(
    weights: Any, own: Mapping[str, Tensor], places: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Tensor], int | None]:
    """Check the names and shapes of given weights. Returns them in the target's dtypes, and B if there is one set per sample.

    Args:
        weights: what `HyperNetwork.generate` returned.
        own: the target's own tensors that the weights replace, by name.
        places: all names of each tensor.

    Raises:
        TypeError: `weights` is not a mapping from names to tensors, or a tensor has whole numbers in place of others.
        ValueError: a name is missing or unknown, a shape does not fit, or the sets per sample differ in number.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        kind = type(weights).__name__
        raise TypeError(
            f"weights should be a dict of tensors, as generate(condition) returns it, got {kind}: "
            "give the target's own argument `weights` by position, or within net.using(condition)"
        )
    check_names(weights, own, "weights should have the names of the generated tensors", places)
    checked: dict[str, Tensor] = {}
    batches: dict[int, str] = {}
    for name, value in own.items():
        tensor, shape = weights[name], tuple(value.shape)
        if tensor.shape != value.shape and tensor.shape[1:] != value.shape:
            expected = f"{shape} or {('batch', *shape)}"
            raise ValueError(f"weights[{name!r}] should have shape {expected}, got {tuple(tensor.shape)}")
        if _kind(tensor) != _kind(value):
            raise TypeError(f"weights[{name!r}] should have a dtype such as {value.dtype}, got {tensor.dtype}")
        if tensor.dim() > value.dim():
            batches.setdefault(tensor.shape[0], name)
        checked[name] = tensor.to(value.dtype)
    if len(batches) > 1:
        found = ", ".join(f"{samples} in {name}" for samples, name in batches.items())
        raise ValueError(f"weights should have one number of samples, got {found}")
    return checked, next(iter(batches), None)


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """What a change of dtype should keep: whether the numbers are real or complex, and not whole."""
    return tensor.is_floating_point(), tensor.is_complex()


def check_stated(out_dims: Any, samples_per_condition: Any) -> None:
    """Check the types of what says where the samples are in the results, and how many there are for each condition.

    Raises:
        TypeError: one is no whole number, nor, for `out_dims`, several.
        ValueError: there are fewer than one sample for each condition.
    """
    dims = out_dims if isinstance(out_dims, list | tuple) else () if out_dims is None else (out_dims,)
    if not all(isinstance(dim, _WHOLE) for dim in dims):
        raise TypeError(f"out_dims should be a dimension, or one for each returned tensor, got {out_dims!r}")
    if not isinstance(samples_per_condition, _WHOLE):
        raise TypeError(f"samples_per_condition should be a whole number, got {samples_per_condition!r}")
    if samples_per_condition < 1:
        raise ValueError(f"samples_per_condition should be at least 1, got {samples_per_condition}")
