"""Convolutions with generated kernels.

Row scales act after or before one convolution with W, a low-rank update is two convolutions, and everything else is one grouped
convolution.

B samples, k rows of each sample in a batch dimension, G groups of a convolution.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.weights.forms import Form, Full, LowRank, RowScale
from hypernetworks.weights.layout import Layout
from hypernetworks.weights.per_sample.served.register import rows_of, serves, with_vector
from hypernetworks.weights.per_sample.slots import NotServedError, Slot


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
