"""The functions of torch that know forms: each computes for all samples what it would compute with each sample's weights.

    linear, addmm, matmul         y_n = x_n W_nᵀ + b_n                       the products of `forms.py`
    conv1d to conv3d, transposed  row scales after or before one convolution with W; everything else as one grouped convolution
    embedding                     rows of W_n
    norms                         the norm without its affine part, then ⊙ γ_n + β_n
    +, -, *, /                    with a vector for each sample
    chunk, split, slices, .t()    of a parameter: forms again; its dtype, and numbers added or multiplied, too

B samples, k rows of each sample in a batch dimension, G groups of a convolution.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.torch_compat import without_overrides
from hypernetworks.weights.forms import Form, Full, LowRank, RowScale
from hypernetworks.weights.layout import Layout
from hypernetworks.weights.per_sample.slots import FUNCTIONS, NotServedError, Slot


def serves(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what is called instead of the functions when a slot is among their arguments."""

    def register(serve: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(functions, serve))
        return serve

    return register


def no_slot(*tensors: Any) -> None:
    """Check that none of the arguments is a slot."""
    if any(isinstance(tensor, Slot) for tensor in tensors):
        raise NotServedError("a generated parameter is an argument where an activation is usual")


def rows_of(function: str, x: Tensor, dims: Sequence[int], *parameters: Tensor | None) -> Layout:
    """Where the samples are in x, which a function is given with these parameters."""
    no_slot(x)
    slot = next(parameter for parameter in parameters if isinstance(parameter, Slot))
    return slot.calls.rows(slot.parameter, function, x, dims)


def vectors(slot: Slot) -> Tensor:
    """The vector of each sample, (B, *shape)."""
    return slot.form.materialize()


def with_vector(
    operation: Callable[[Tensor, Tensor], Tensor], y: Tensor, v: Tensor | None, rows: Layout, channel: int | None = None
) -> Tensor:
    """operation(y_n, v_n), or operation(y, v) for a vector that is not generated; y without a vector."""
    if v is None:
        return y
    if isinstance(v, Slot):
        return rows.combine(operation, y, vectors(v).to(y.dtype), channel).to(y.dtype)
    shape = (1, -1) + (1,) * (y.dim() - 2) if channel == 1 else v.shape
    return operation(y, v.reshape(shape).to(y.dtype))


# ---- products


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


# ---- convolutions


def convolution(convolve: Callable[..., Tensor], dims: int, back: bool) -> Callable[..., Tensor]:
    """What is called instead of F.conv1d to F.conv3d, or with `back` instead of F.conv_transpose1d to 3d."""

    def serve(input: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        if input.dim() != dims + 2:
            raise NotServedError("a convolution of an input without a batch dimension")
        rows = rows_of(convolve.__name__, input, [0], weight, bias)
        groups = _groups(args, kwargs)
        if not isinstance(weight, Slot):
            y = convolve(input, weight, None, *args, **kwargs)
        elif weight.transposed:
            raise NotServedError("a convolution with a transposed kernel")
        elif isinstance(weight.form, RowScale) and (groups == 1 or not (back or weight.form.dim)):
            y = _scaled(convolve, input, weight.form, rows, back, args, kwargs)
        elif isinstance(weight.form, LowRank) and groups == 1 and not back:
            y = _low_rank(convolve, input, weight.form, rows, args, kwargs)
        else:
            y = _grouped(convolve, input, weight.form, rows, groups, args, kwargs)
        return with_vector(torch.add, y, bias, rows, channel=1)

    return serve


_GROUPS = 3
"""The place of `groups` behind the bias: stride, padding, dilation, or output_padding if transposed, groups."""


def _groups(args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    """G."""
    return args[_GROUPS] if len(args) > _GROUPS else kwargs.get("groups", 1)


def _with_groups(args: Sequence[Any], kwargs: dict[str, Any], groups: int) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments with other groups."""
    if len(args) > _GROUPS:
        return (*args[:_GROUPS], groups, *args[_GROUPS + 1 :]), kwargs
    return args, kwargs | {"groups": groups}


def _scaled(
    convolve: Callable[..., Tensor],
    x: Tensor,
    form: RowScale,
    rows: Layout,
    back: bool,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Tensor:
    """The scales belong to the outputs, or to the inputs if they are those of the other dimension of W."""
    if back != bool(form.dim):
        # y_n = W * (d_n ⊙ x_n)
        return convolve(rows.combine(torch.mul, x, form.d.to(x.dtype), channel=1), form.base, None, *args, **kwargs)
    y = convolve(x, form.base, None, *args, **kwargs)
    # y_n = d_n ⊙ (W * x_n)
    return rows.combine(torch.mul, y, form.d.to(y.dtype), channel=1)


def _low_rank(
    convolve: Callable[..., Tensor],
    x: Tensor,
    form: LowRank,
    rows: Layout,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Tensor:
    """W * x_n + s B_n (A_n * x_n): a grouped convolution to r channels, then a product with B_n at each place."""
    y = convolve(x, form.base, None, *args, **kwargs)
    rank, kernel = form.B.shape[-1], form.shape[1:]
    A = Full(form.A.unflatten(-1, kernel))
    low = _grouped(convolve, x, A, rows, 1, args, kwargs)
    # (B, k, r, places) -> (B, r, k·places)
    low = rows.blocks(low).flatten(3).movedim(2, 1).reshape(rows.samples, rank, -1)
    up = torch.bmm(form.scale * form.B, low).unflatten(-1, (rows.each, *y.shape[2:])).movedim(2, 1)
    return y + _unblocked(up, rows)


def _unblocked(y: Tensor, rows: Layout) -> Tensor:
    """The inverse of `rows.blocks` for samples in dimension 0: (B, k, *rest) to (B·k, *rest)."""
    return (y if rows.major else y.transpose(0, 1)).flatten(0, 1)


def _grouped(
    convolve: Callable[..., Tensor],
    x: Tensor,
    form: Form,
    rows: Layout,
    groups: int,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Tensor:
    """One convolution with B·G groups: x (B·k, C, ...) as (k, B·C, ...)."""
    W = form.materialize().flatten(0, 1)
    blocks = rows.blocks(x).transpose(0, 1).flatten(1, 2)
    args, kwargs = _with_groups(args, kwargs, rows.samples * groups)
    y = convolve(blocks, W, None, *args, **kwargs)
    return _unblocked(y.unflatten(1, (rows.samples, -1)).transpose(0, 1), rows)


for _dims, _forward, _backward in (
    (1, F.conv1d, F.conv_transpose1d),
    (2, F.conv2d, F.conv_transpose2d),
    (3, F.conv3d, F.conv_transpose3d),
):
    serves(_forward)(convolution(_forward, _dims, back=False))
    serves(_backward)(convolution(_backward, _dims, back=True))


# ---- tables


@serves(F.embedding)
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Row x_n of W_n."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotServedError("an embedding with max_norm, scale_grad_by_freq or sparse gradients")
    assert isinstance(weight, Slot)
    if weight.transposed:
        raise NotServedError("an embedding in a transposed table")
    rows, form, size = rows_of("embedding", input, range(input.dim()), weight), weight.form, weight.shape[0]
    if padding_idx is not None and padding_idx < 0:
        padding_idx += size

    def own(table: Tensor) -> Tensor:
        """Row x_n of a table (B, size, columns) for each sample."""
        first = torch.arange(rows.samples, device=input.device) * size
        places = rows.combine(torch.add, input, first)
        found = F.embedding(places, table.flatten(0, 1))
        if padding_idx is None:
            return found
        # the row for padding has no gradient
        return torch.where((input == padding_idx).unsqueeze(-1), found.detach(), found)

    if isinstance(form, RowScale) and form.dim == 0:
        # d_n[x_n] W[x_n]
        return own(form.d.unsqueeze(-1)) * F.embedding(input, form.base, padding_idx)
    if isinstance(form, LowRank):
        # W[x_n] + s B_n[x_n] A_n
        low = own(form.B)
        # A_n gets no gradient from the row for padding either
        if padding_idx is not None:
            update = rows.join(torch.bmm(rows.split(low), form.scale * form.A), input.shape)
            keep = (input != padding_idx).unsqueeze(-1)
            update = torch.where(keep, update, update.detach())
        else:
            update = rows.join(torch.bmm(rows.split(low), form.scale * form.A), input.shape)
        return F.embedding(input, form.base, padding_idx) + update
    return own(form.materialize())


# ---- norms


def affine(y: Tensor, weight: Tensor | None, bias: Tensor | None, rows: Layout, channel: int | None = None) -> Tensor:
    """γ_n ⊙ y_n + β_n."""
    return with_vector(torch.add, with_vector(torch.mul, y, weight, rows, channel), bias, rows, channel)


@serves(F.layer_norm, torch.layer_norm)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """γ_n ⊙ norm(x_n) + β_n."""
    rows = rows_of("layer_norm", input, range(input.dim() - len(normalized_shape)), weight, bias)
    return affine(F.layer_norm(input, normalized_shape, eps=eps), weight, bias, rows)


@serves(F.rms_norm, torch.rms_norm)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """γ_n ⊙ norm(x_n)."""
    rows = rows_of("rms_norm", input, range(input.dim() - len(normalized_shape)), weight)
    return affine(F.rms_norm(input, list(normalized_shape), eps=eps), weight, None, rows)


@serves(F.group_norm)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """γ_n ⊙ norm(x_n) + β_n."""
    rows = rows_of("group_norm", input, [0], weight, bias)
    return affine(F.group_norm(input, num_groups, eps=eps), weight, bias, rows, channel=1)


@serves(F.batch_norm)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """γ_n ⊙ norm(x)_n + β_n. The statistics are those of all samples."""
    rows = rows_of("batch_norm", input, [0], weight, bias)
    y = F.batch_norm(input, running_mean, running_var, None, None, training, momentum, eps)
    return affine(y, weight, bias, rows, channel=1)


@serves(F.instance_norm)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """γ_n ⊙ norm(x_n) + β_n. Running statistics are the means over all samples, as in F.instance_norm."""
    rows = rows_of("instance_norm", input, [0], weight, bias)
    y = F.instance_norm(input, running_mean, running_var, None, None, use_input_stats, momentum, eps)
    return affine(y, weight, bias, rows, channel=1)


# ---- vectors


def elementwise(operation: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """What is called instead of an operation on an activation and a vector, in either order."""

    def serve(input: Any, other: Any) -> Tensor:
        x, slot, swapped = (other, input, True) if isinstance(input, Slot) else (input, other, False)
        ordered = (lambda a, b: operation(b, a)) if swapped else operation
        if isinstance(x, int | float) and isinstance(slot.form, Full):
            return Slot.of(Full(ordered(x, slot.form.tensor)), slot.parameter, slot.calls, slot.transposed)
        if not isinstance(x, Tensor) or isinstance(x, Slot) or slot.transposed:
            raise NotServedError("arithmetic on a generated parameter itself")
        # the samples cannot be in a dimension in which the vector differs from entry to entry
        own = [x.dim() - slot.dim() + k for k, size in enumerate(slot.shape) if size != 1]
        free = range(min(own, default=x.dim()))
        if slot.dim() > x.dim() or any(x.shape[dim] not in (1, size) for dim, size in _aligned(x, slot)):
            raise NotServedError("arithmetic that gives an activation more entries")
        if any(x.shape[dim] < size for dim, size in _aligned(x, slot)):
            raise NotServedError("arithmetic that gives an activation more entries")
        rows = rows_of(operation.__name__, x, free, slot)
        return rows.combine(ordered, x, vectors(slot))

    return serve


def _aligned(x: Tensor, slot: Slot) -> list[tuple[int, int]]:
    """The dimensions of x in which a vector has entries, and how many."""
    return [(x.dim() - slot.dim() + k, size) for k, size in enumerate(slot.shape) if size != 1]


serves(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, operator.add)(elementwise(torch.add))
serves(torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, operator.mul)(elementwise(torch.mul))
serves(torch.sub, Tensor.sub, Tensor.__sub__, operator.sub)(elementwise(torch.sub))
serves(torch.div, Tensor.div, Tensor.__truediv__, operator.truediv)(elementwise(torch.div))
serves(Tensor.__rsub__)(lambda slot, x: FUNCTIONS[torch.sub](x, slot))
serves(Tensor.__rdiv__, Tensor.__rtruediv__)(lambda slot, x: FUNCTIONS[torch.div](x, slot))
serves(F.multi_head_attention_forward)(without_overrides(F.multi_head_attention_forward))


# ---- parts of a parameter, and other dtypes


def part(slot: Slot, start: int, stop: int) -> Slot:
    """Rows start to stop."""
    return Slot.of(slot.form.narrow(start, stop), f"{slot.parameter}[{start}:{stop}]", slot.calls)


def in_dtype(slot: Slot, dtype: torch.dtype) -> Slot:
    """The parameter in another dtype."""
    return Slot.of(slot.form.to(dtype), slot.parameter, slot.calls, slot.transposed)


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
    sizes = named.get("shape", named.get("size", shape[0] if len(shape) == 1 else shape))
    sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
    if any(isinstance(size, torch.dtype) for size in sizes):
        raise NotServedError("a generated parameter is seen as another dtype")
    tensor = input.form.tensor
    return Slot.of(Full(tensor.reshape(len(tensor), *_sizes(tensor, sizes))), input.parameter, input.calls)


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
    return Slot.of(input.form, input.parameter, input.calls, not input.transposed)


@serves(torch.transpose, Tensor.transpose)
def swap(input: Slot, dim0: int, dim1: int) -> Slot:
    """The transpose of a matrix."""
    if input.dim() != 2 or {dim0 % 2, dim1 % 2} != {0, 1}:
        raise NotServedError("a generated parameter of more than two dimensions is transposed")
    return transpose(input)
