"""Generated tensors in the form in which they can be applied without making them.

    Full         W_n                                   a tensor for each sample, made
    LowRank      W_n = W + s B_n A_n                   y_n = W x_n + s B_n (A_n x_n)
    RowScale     W_n = d_n ⊙ W                         y_n = d_n ⊙ (W x_n)
    LinearHead   W_n = reshape(H h_n + b_H)            y_n = H (h_n ⊗ x_n) + reshape(b_H) x_n

n is the sample. A form has the samples in dimension 0 of everything that has an index n.

B samples, R rows of x for each sample, p columns of x, q columns of the result, r rank, m size of h.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.weights.layout import Layout


class Form(ABC):
    """One tensor for each sample, of the shape `shape`, which need not be made."""

    per_sample: ClassVar[tuple[str, ...]]
    """The attributes that have the samples in dimension 0."""

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """The shape for one sample."""

    @property
    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the form: its first."""
        return next(iter(self.tensors().values()))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of a made tensor."""
        return self.like.dtype

    def to(self, dtype: torch.dtype) -> Self:
        """The form with all of its tensors in this dtype."""
        tensors = {name: tensor.to(dtype) for name, tensor in self.tensors().items()}
        return replace(self, **tensors)  # pyright: ignore[reportArgumentType]

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that make up the form, by the names of its attributes."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # pyright: ignore[reportArgumentType]
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    @property
    def samples(self) -> int:
        """B."""
        return len(getattr(self, self.per_sample[0]))

    @abstractmethod
    def materialize(self) -> Tensor:
        """Make the tensors, (B, *shape)."""

    @abstractmethod
    def narrow(self, start: int, stop: int) -> "Form":
        """The rows start to stop of each sample's tensor."""

    def sample(self, n: int) -> Self:
        """The form of sample n alone: B is 1."""
        own = {name: getattr(self, name)[n : n + 1] for name in self.per_sample}
        return replace(self, **own)  # pyright: ignore[reportArgumentType]

    def product(self, x: Tensor, rows: Layout, transposed: bool) -> Tensor:
        """x_n W_nᵀ, or x_n W_n if transposed, for x (..., p) with the samples as `rows` says. W_n is a matrix."""
        W = self.materialize()
        # y_n = x_n W_nᵀ
        return rows.join(torch.bmm(rows.split(x), W if transposed else W.mT), x.shape[:-1])


@dataclass(frozen=True)
class Full(Form):
    """W_n itself."""

    per_sample: ClassVar[tuple[str, ...]] = ("tensor",)

    tensor: Tensor

    @property
    def shape(self) -> torch.Size:
        """The shape for one sample."""
        return self.tensor.shape[1:]

    def materialize(self) -> Tensor:
        """The tensors, (B, *shape)."""
        return self.tensor

    def narrow(self, start: int, stop: int) -> Self:
        """The rows start to stop of each sample's tensor."""
        return replace(self, tensor=self.tensor[:, start:stop])


@dataclass(frozen=True)
class LowRank(Form):
    """W_n = W + s B_n A_n with W (q, *rest), B (B, q, r) and A (B, r, rest).

    Applied, the update costs R r (p + q) multiplications for each sample and three times that with its gradients. Made, it
    costs r p q, three times that with its gradients, and then R p q for the gradient of W_n, which the form never makes.
    `product` does what takes fewer.
    """

    per_sample: ClassVar[tuple[str, ...]] = ("B", "A")

    base: Tensor
    B: Tensor
    A: Tensor
    scale: float

    @property
    def shape(self) -> torch.Size:
        """The shape for one sample."""
        return self.base.shape

    def materialize(self) -> Tensor:
        """W + s B_n A_n, (B, *shape)."""
        # W_n = W + s B_n A_n
        return self.base + (self.scale * (self.B @ self.A)).reshape(self.samples, *self.shape)

    def narrow(self, start: int, stop: int) -> Self:
        """The rows start to stop of each sample's tensor."""
        return replace(self, base=self.base[start:stop], B=self.B[:, start:stop])

    def product(self, x: Tensor, rows: Layout, transposed: bool) -> Tensor:
        """As in `Form`: x_n W_nᵀ, or x_n W_n if transposed."""
        R, rank, (q, p) = x.numel() // x.shape[-1] // self.samples, self.B.shape[-1], self.base.shape
        if 3 * R * rank * (p + q) > 3 * rank * p * q + R * p * q:
            return super().product(x, rows, transposed)
        down, up = (self.B, self.A) if transposed else (self.A.mT, self.B.mT)
        y = F.linear(x, self.base.T if transposed else self.base)
        # y_n = x_n Wᵀ + s (x_n A_nᵀ) B_nᵀ
        return y + rows.join(torch.bmm(torch.bmm(rows.split(x), down), self.scale * up), x.shape[:-1])


@dataclass(frozen=True)
class RowScale(Form):
    """W_n = d_n ⊙ W with W (q, *rest) and d (B, q): each row of W is scaled. Applied, it costs R q multiplications.

    For a layer that stores its outputs in dimension 1, `dim` is 1 and d has the size of that dimension.
    """

    per_sample: ClassVar[tuple[str, ...]] = ("d",)

    base: Tensor
    d: Tensor
    dim: int = 0

    @property
    def shape(self) -> torch.Size:
        """The shape for one sample."""
        return self.base.shape

    def materialize(self) -> Tensor:
        """d_n ⊙ W, (B, *shape)."""
        shape = [1] * self.base.dim()
        shape[self.dim] = -1
        # W_n = d_n ⊙ W
        return self.d.reshape(self.samples, *shape) * self.base

    def narrow(self, start: int, stop: int) -> Self:
        """The rows start to stop of each sample's tensor."""
        return replace(self, base=self.base[start:stop], d=self.d if self.dim else self.d[:, start:stop])

    def product(self, x: Tensor, rows: Layout, transposed: bool) -> Tensor:
        """As in `Form`: x_n W_nᵀ, or x_n W_n if transposed."""
        base = self.base.T if transposed else self.base
        if transposed != bool(self.dim):
            # y_n = (x_n ⊙ d_n) W
            return F.linear(rows.combine(torch.mul, x, self.d.to(x.dtype)), base)
        y = F.linear(x, base)
        # y_n = (x_n Wᵀ) ⊙ d_n
        return rows.combine(torch.mul, y, self.d.to(y.dtype))


@dataclass(frozen=True)
class LinearHead(Form):
    """W_n = reshape(H h_n + b_H) with H (q·p, m), b_H (q·p,) and h (B, m), for a matrix (q, p).

    Applied, it costs R m p q multiplications for each sample; made, m p q + R p q. `product` does what takes fewer: one row
    for each sample is never worth a W_n.
    """

    per_sample: ClassVar[tuple[str, ...]] = ("h",)

    H: Tensor
    b: Tensor
    h: Tensor
    shape_: torch.Size

    @property
    def shape(self) -> torch.Size:
        """The shape for one sample."""
        return self.shape_

    def materialize(self) -> Tensor:
        """reshape(H h_n + b_H), (B, *shape)."""
        # W_n = reshape(H h_n + b_H)
        W = F.linear(self.h, self.H, self.b).reshape(self.samples, *self.shape)
        return W.to(self.dtype)  # under autocast, the product has another

    def narrow(self, start: int, stop: int) -> Self:
        """The rows start to stop of each sample's tensor."""
        rest = math.prod(self.shape[1:])
        rows, shape = slice(start * rest, stop * rest), torch.Size((stop - start, *self.shape[1:]))
        return replace(self, H=self.H[rows], b=self.b[rows], shape_=shape)

    def product(self, x: Tensor, rows: Layout, transposed: bool) -> Tensor:
        """As in `Form`: x_n W_nᵀ, or x_n W_n if transposed."""
        R, m = x.numel() // x.shape[-1] // self.samples, self.h.shape[-1]
        if transposed or R * m > m + R:
            return super().product(x, rows, transposed)
        q, p = self.shape
        # h_n ⊗ x_n, (B, R, p m)
        outer = (rows.split(x).unsqueeze(-1) * self.h[:, None, None]).flatten(-2)
        y = F.linear(outer, self.H.view(q, -1))
        # y_n = H (h_n ⊗ x_n) + reshape(b_H) x_n
        return rows.join(y, x.shape[:-1]) + F.linear(x, self.b.view(q, p))
