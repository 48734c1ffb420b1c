"""Finds where a target puts rows into an order that could be another one the next time: by values, or by random numbers.

    x[index]  index_select  gather  sort  topk ...            rows are taken from an activation
    x[index] = y  index_add  scatter ...                      rows are put into a tensor

That the samples were in their places while they were measured says nothing about the next call if such an order goes along the
dimension of the samples. Along any other dimension it stays within a sample. The index torch.arange(...) takes each sample
once, in order, and so is no order of this kind; nor is a list of numbers.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_ARGUMENTS = {
    "index_select": ("dim", "index"),
    "gather": ("dim", "index"),
    "take_along_dim": ("indices", "dim"),
    "sort": ("dim",),
    "argsort": ("dim",),
    "topk": ("k", "dim"),
    "scatter": ("dim", "index"),
    "scatter_": ("dim", "index"),
    "scatter_add": ("dim", "index"),
    "scatter_add_": ("dim", "index"),
    "scatter_reduce": ("dim", "index"),
    "scatter_reduce_": ("dim", "index"),
    "index_add": ("dim", "index"),
    "index_add_": ("dim", "index"),
    "index_copy": ("dim", "index"),
    "index_copy_": ("dim", "index"),
    "index_fill": ("dim", "index"),
    "index_fill_": ("dim", "index"),
}
"""The arguments behind the tensor up to the dimension in which rows are ordered."""

_ANYWHERE = ("take", "masked_select", "nonzero", "argwhere", "unique", "unique_consecutive", "index_put", "index_put_")
"""Functions that order all entries."""

_ORDERING = {
    getattr(owner, name): name
    for owner in (torch, Tensor)
    for name in (*_ARGUMENTS, *_ANYWHERE, "masked_scatter", "masked_scatter_")
    if hasattr(owner, name)
} | {Tensor.__getitem__: "getitem", Tensor.__setitem__: "setitem"}


class Orders:
    """What a run orders. `note(name, x, dims)` is called with each tensor, and the dimensions along which it is ordered."""

    def __init__(self, note: Callable[[str, Tensor, Iterable[int]], None]) -> None:
        self.note = note
        self.ranges: list[Tensor] = []

    def call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of torch, and note what it orders."""
        name = _ORDERING.get(function)
        if name is None:
            result = function(*args, **kwargs)
            if function is torch.arange:
                self.ranges.append(result)
            return result
        x = args[0] if args else kwargs["input"]
        writes = name == "setitem" or (
            name.startswith(("scatter", "index_", "masked_scatter")) and name != "index_select"
        )
        dims = self._dims(name, x, args[1:], kwargs)
        if not writes:
            self.note(name, x, dims)
            return function(*args, **kwargs)
        result = function(*args, **kwargs)
        self.note(name, x if name == "setitem" else result, dims)
        return result

    def _dims(self, name: str, x: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> set[int]:
        """The dimensions along which a call orders x."""
        if name == "setitem" and not (isinstance(args[1], Tensor) and args[1].dim()):
            return set()  # the same number everywhere
        if name in ("getitem", "setitem"):
            return self._indexed(x, args[0])
        if name not in _ARGUMENTS:
            return set(range(x.dim()))
        given = dict(zip(_ARGUMENTS[name], args, strict=False)) | kwargs
        dim = given.get("dim", -1)
        return {dim % x.dim()} if isinstance(dim, int) and x.dim() else set(range(x.dim()))

    def _indexed(self, x: Tensor, index: Any) -> set[int]:
        """The dimensions of x that an index orders."""
        parts = index if isinstance(index, tuple) else (index,)
        taken = [part.dim() if isinstance(part, Tensor) and part.dtype == torch.bool else 1 for part in parts]
        taken = [
            0 if part is None or part is Ellipsis or isinstance(part, bool) else size
            for part, size in zip(parts, taken, strict=True)
        ]
        dims, dim = set(), 0
        for part, size in zip(parts, taken, strict=True):
            if part is Ellipsis:
                dim += x.dim() - sum(taken)
            elif isinstance(part, Tensor) and not any(part is known for known in self.ranges):
                dims |= set(range(dim, dim + size))
            dim += size
        return dims
