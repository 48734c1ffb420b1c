"""Products of activations with a generated matrix: y_n = x_n W_nᵀ + b_n."""

import operator

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.weights.per_sample.served.register import rows_of, serves, with_vector
from hypernetworks.weights.per_sample.slots import NotServedError, Slot


@serves(F.linear)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_n = x_n W_nᵀ + b_n."""
    if weight.dim() != 2:
        raise NotServedError("linear with a vector as weight")
    rows = rows_of("linear", input, range(input.dim() - 1), weight, bias)
    if not isinstance(weight, Slot):
        y = F.linear(input, weight)
    else:
        y = weight.form.product(input, rows, weight.transposed)
    return with_vector(torch.add, y, bias, rows)


@serves(torch.matmul, Tensor.matmul, Tensor.__matmul__, operator.matmul, torch.mm, Tensor.mm)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """y_n = x_n W_n."""
    if isinstance(input, Slot) or other.dim() != 2 or input.dim() < 2:
        raise NotServedError("a product with a generated parameter that is not a matrix on the right")
    assert isinstance(other, Slot)
    rows = rows_of("matmul", input, range(input.dim() - 1), other)
    return other.form.product(input, rows, not other.transposed)


@serves(torch.addmm, Tensor.addmm)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """y_n = b_n + x_n W_n."""
    if beta != 1 or alpha != 1 or input.dim() != 1:
        raise NotServedError("addmm with factors, or with a matrix to add")
    rows = rows_of("addmm", mat1, [0], mat2, input)
    y = mat2.form.product(mat1, rows, not mat2.transposed) if isinstance(mat2, Slot) else torch.mm(mat1, mat2)
    return with_vector(torch.add, y, input, rows)
