"""Where the samples are in a tensor: in a dimension of its own, or in one with other rows.

    each = 1            (..., B, ...)        the dimension holds the samples
    major               (..., B·k, ...)      the k rows of sample 0, then those of sample 1, ...
    minor               (..., k·B, ...)      row 0 of all samples, then row 1 of all samples, ...

B samples, k rows of each sample, R rows of each sample in all.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """The samples are in dimension `dim`, `each` rows for each sample, the samples outermost if `major`."""

    samples: int
    dim: int
    each: int = 1
    major: bool = True

    def apart(self, x: Tensor) -> Tensor:
        """x with a dimension that holds the samples and nothing else, `self.place`."""
        if self.each == 1:
            return x
        return x.unflatten(self.dim, (self.samples, self.each) if self.major else (self.each, self.samples))

    @property
    def place(self) -> int:
        """The dimension of the samples in `apart(x)`."""
        return self.dim if self.each == 1 or self.major else self.dim + 1

    def together(self, x: Tensor) -> Tensor:
        """The inverse of `apart`."""
        return x if self.each == 1 else x.flatten(self.dim, self.dim + 1)

    def along(self, v: Tensor, rows: Tensor) -> Tensor:
        """v (B,) with dimensions of size 1 for all others of `rows`, which `apart` returned."""
        return v.view([self.samples if dim == self.place else 1 for dim in range(rows.dim())])

    def one(self, x: Tensor, n: int) -> Tensor:
        """x with the rows of sample n alone."""
        return self.together(self.apart(x).narrow(self.place, n, 1))

    def split(self, x: Tensor) -> Tensor:
        """The rows of each sample: x (..., p) to (B, R, p)."""
        if self.dim == 0 and self.major:
            return x.reshape(self.samples, -1, x.shape[-1])
        return self.apart(x).movedim(self.place, 0).reshape(self.samples, -1, x.shape[-1])

    def join(self, y: Tensor, leading: Sequence[int]) -> Tensor:
        """The inverse of `split`: (B, R, q) to (*leading, q)."""
        if self.dim == 0 and self.major:
            return y.reshape(*leading, y.shape[-1])
        rest = list(leading)
        rest[self.dim : self.dim + 1] = [] if self.each == 1 else [self.each]
        # contiguous, as products are: a target may take views of it
        return self.together(y.reshape(self.samples, *rest, y.shape[-1]).movedim(0, self.place).contiguous())

    def blocks(self, x: Tensor) -> Tensor:
        """The tensors of each sample: x (..., samples, ...) to (B, k, *rest), with k = 1 if there is one row each."""
        first = self.apart(x).movedim(self.place, 0)
        return first.unsqueeze(1) if self.each == 1 else first.movedim(self.dim + 1, 1)

    def alone(self, y: Tensor) -> Tensor:
        """A result for one sample without its dimension of size 1; as it is if a sample has rows, or for a number.

        Raises:
            ValueError: it has not the rows of one sample where they should be.
        """
        if y.dim() == 0 and self.each == 1:
            return y
        if not -y.dim() <= self.dim < y.dim() or y.shape[self.dim] != self.each:
            raise ValueError(
                f"a returned tensor has shape {tuple(y.shape)} for one sample, with no batch of {self.each} in dimension "
                f"{self.dim}: return it with the batch there, or state out_dims"
            )
        return y.squeeze(self.dim) if self.each == 1 else y

    def gathered(self, y: Tensor) -> Tensor:
        """What `alone` returned for each sample, (B, ...), as one tensor. Numbers become (B,)."""
        if y.dim() == 1 and self.dim == 0 and self.each == 1:
            return y
        if self.each == 1:
            return y.movedim(0, self.dim)
        dim = self.dim % (y.dim() - 1)  # of a result that has the rows of all samples in one dimension
        return y.movedim(0, dim).flatten(dim, dim + 1)

    def combine(
        self, operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, v: Tensor, channel: int | None = None
    ) -> Tensor:
        """operation(x_n, v_n) for v (B, *tail). The tail belongs to the last dimensions of x, or starts at `channel`."""
        rows = self.apart(x)
        first = rows.dim() - v.dim() + 1
        if channel is not None:
            first = channel if channel < self.dim else channel + rows.dim() - x.dim()
        shape = [1] * rows.dim()
        for k, size in enumerate(v.shape[1:]):
            if size != 1:
                shape[first + k] = size
        shape[self.place] = self.samples
        if v.dim() == 1:  # a number does not promote x
            v = v.to(torch.result_type(rows, v.new_empty(())))
        return self.together(operation(rows, v.reshape(shape)))


@dataclass(frozen=True)
class Repeated:
    """All samples share a tensor, which is repeated for each along dimension `dim`: one of size 1, or a new one."""

    samples: int
    dim: int
    new: bool = False

    @property
    def layout(self) -> Layout:
        """Where the samples are in `repeat(x)`."""
        return Layout(self.samples, self.dim)

    def repeat(self, x: Tensor) -> Tensor:
        """x for each sample, without a copy."""
        x = x.unsqueeze(self.dim) if self.new else x
        return x.expand(*x.shape[: self.dim], self.samples, *x.shape[self.dim + 1 :])


@dataclass(frozen=True)
class NewDimension:
    """The samples are in a dimension that a result for one sample does not have."""

    dim: int

    def alone(self, y: Tensor) -> Tensor:
        """A result for one sample."""
        return y

    def gathered(self, y: Tensor) -> Tensor:
        """What `alone` returned for each sample, (B, ...), as one tensor.

        Raises:
            ValueError: it would have no such dimension.
        """
        if not -y.dim() <= self.dim < y.dim():
            raise ValueError(f"out_dims is {self.dim}, but a result for all samples has {y.dim()} dimensions")
        return y.movedim(0, self.dim)


def candidates(shape: Sequence[int], dims: Iterable[int], samples: int) -> list[Layout]:
    """Every layout in which a tensor of this shape can hold the samples, in one of these dimensions."""
    found = []
    for dim in dims:
        each, rest = divmod(shape[dim], samples)
        if rest or not each:
            continue
        found.append(Layout(samples, dim, each))
        if each > 1:
            found.append(Layout(samples, dim, each, major=False))
    return found


def of_samples(changed: Tensor, layout: Layout) -> Tensor:
    """Whether any entry of each sample is set: changed (the shape of a tensor) to (B,)."""
    rows = layout.apart(changed).movedim(layout.place, 0)
    return rows.reshape(layout.samples, math.prod(rows.shape[1:])).any(1)


def differs(a: Tensor, b: Tensor) -> Tensor:
    """Where two tensors of one shape have different entries. Two entries that are no numbers are equal."""
    if a.is_floating_point() or a.is_complex():
        return (a != b) & ~(torch.isnan(a) & torch.isnan(b))
    return a != b
