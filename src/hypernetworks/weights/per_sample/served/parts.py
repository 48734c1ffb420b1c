"""Parts, shapes and dtypes of a generated parameter: slots again."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hypernetworks.weights.forms import Full
from hypernetworks.weights.per_sample.served.register import serves
from hypernetworks.weights.per_sample.slots import NotServedError, Slot


def part(slot: Slot, start: int, stop: int) -> Slot:
    """Rows start to stop."""
    return Slot.of(slot.form.narrow(start, stop), f"{slot.parameter}[{start}:{stop}]", slot.calls, slot.takes_gradients)


def in_dtype(slot: Slot, dtype: torch.dtype) -> Slot:
    """The parameter in another dtype."""
    return Slot.of(slot.form.to(dtype), slot.parameter, slot.calls, slot.takes_gradients, slot.transposed)


serves(Tensor.float)(lambda slot: in_dtype(slot, torch.float32))
serves(Tensor.double)(lambda slot: in_dtype(slot, torch.float64))
serves(Tensor.type_as)(lambda slot, other: in_dtype(slot, other.dtype))


@serves(Tensor.to)
def to(input: Slot, *args: Any, **kwargs: Any) -> Slot:
    """The parameter in another dtype, or in that of another tensor."""
    (other,) = given if len(given := [*args, *kwargs.values()]) == 1 else (None,)
    if isinstance(other, Tensor) and other.device == input.device:
        other = other.dtype
    if not isinstance(other, torch.dtype):
        raise NotServedError("a generated parameter is moved")
    return in_dtype(input, other)


@serves(torch.chunk, Tensor.chunk)
def chunk(input: Slot, chunks: int, dim: int = 0) -> tuple[Slot, ...]:
    """Equal parts of the rows."""
    return split(input, -(-input.shape[0] // chunks), dim)


@serves(torch.split, Tensor.split)
def split(tensor: Slot, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Slot, ...]:
    """Parts of the rows."""
    if dim != 0 or tensor.transposed:
        raise NotServedError("a generated parameter is cut along another dimension than its first")
    size, sections = tensor.shape[0], split_size_or_sections
    sizes = (
        [min(sections, size - start) for start in range(0, size, sections)]
        if isinstance(sections, int)
        else list(sections)
    )
    stops = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return tuple(part(tensor, stop - size, stop) for stop, size in zip(stops, sizes, strict=True))


@serves(Tensor.__getitem__)
def getitem(input: Slot, index: Any) -> Slot:
    """A slice of the rows."""
    if not isinstance(index, slice) or index.step not in (None, 1) or input.transposed:
        raise NotServedError("a generated parameter is indexed")
    start, stop, _ = index.indices(input.shape[0])
    return part(input, start, stop)


@serves(torch.reshape, Tensor.reshape, Tensor.view)
def reshape(input: Slot, *shape: Any, **named: Any) -> Slot:
    """A vector in another shape, such as (1, C, 1, 1)."""
    if not isinstance(input.form, Full) or input.transposed:
        raise NotServedError("a generated parameter that is not a vector is reshaped")
    if not named.keys() <= {"shape", "size"}:
        raise NotServedError(f"a generated parameter is reshaped with {', '.join(named)}")
    sizes = named.get("shape", named.get("size", shape[0] if len(shape) == 1 else shape))
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if any(isinstance(size, torch.dtype) for size in sizes):
        raise NotServedError("a generated parameter is seen as another dtype")
    tensor = input.form.tensor
    made = Full(tensor.reshape(len(tensor), *_sizes(tensor, sizes)))
    return Slot.of(made, input.parameter, input.calls, input.takes_gradients)


def _sizes(tensor: Tensor, sizes: Sequence[int]) -> Sequence[int]:
    """The sizes for one sample, with -1 replaced."""
    known = math.prod(size for size in sizes if size != -1)
    return [tensor[0].numel() // known if size == -1 else size for size in sizes]


@serves(torch.unsqueeze, Tensor.unsqueeze)
def unsqueeze(input: Slot, dim: int) -> Slot:
    """A vector with one more dimension."""
    sizes = list(input.shape)
    sizes.insert(dim if dim >= 0 else dim + len(sizes) + 1, 1)
    return reshape(input, sizes)


@serves(torch.t, Tensor.t, *(getattr(Tensor, name).__get__ for name in ("T", "mT")))
def transpose(input: Slot) -> Slot:
    """The transpose of a matrix."""
    if input.dim() == 1:
        return input
    if input.dim() != 2:
        raise NotServedError("a generated parameter of more than two dimensions is transposed")
    return Slot.of(input.form, input.parameter, input.calls, input.takes_gradients, not input.transposed)


@serves(torch.transpose, Tensor.transpose)
def swap(input: Slot, dim0: int, dim1: int) -> Slot:
    """The transpose of a matrix."""
    if input.dim() != 2 or {dim0 % 2, dim1 % 2} != {0, 1}:
        raise NotServedError("a generated parameter of more than two dimensions is transposed")
    return transpose(input)
