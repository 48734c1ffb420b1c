"""Checks of weights that were generated before and are given back: net(x, weights=net.generate(c))."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def check_weights(weights: Any, own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int | None]:
    """Check the names and shapes of given weights. Returns them in the target's dtypes, and B if there is one set per sample.

    Args:
        weights: what `HyperNetwork.generate` returned.
        own: the target's own tensors that the weights replace, by name.

    Raises:
        TypeError: `weights` is not a mapping from names to tensors.
        ValueError: a name is missing or unknown, a shape does not fit, or the sets per sample differ in number.
    """
    if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        kind = type(weights).__name__
        raise TypeError(
            f"weights should be a dict of tensors, as generate(condition) returns it, got {kind}: "
            "give the target's own argument `weights` by position, or within net.using(condition)"
        )
    if weights.keys() != own.keys():
        missing, unknown = [name for name in own if name not in weights], [name for name in weights if name not in own]
        raise ValueError(
            f"weights should have the names of the generated tensors: missing {missing}, unknown {unknown}"
        )
    checked: dict[str, Tensor] = {}
    batches: dict[int, str] = {}
    for name, value in own.items():
        tensor, shape = weights[name], tuple(value.shape)
        if tensor.shape != value.shape and tensor.shape[1:] != value.shape:
            expected = f"{shape} or {('batch', *shape)}"
            raise ValueError(f"weights[{name!r}] should have shape {expected}, got {tuple(tensor.shape)}")
        if tensor.dim() > value.dim():
            batches.setdefault(tensor.shape[0], name)
        checked[name] = tensor.to(value.dtype)
    if len(batches) > 1:
        found = ", ".join(f"{samples} in {name}" for samples, name in batches.items())
        raise ValueError(f"weights should have one number of samples, got {found}")
    return checked, next(iter(batches), None)
