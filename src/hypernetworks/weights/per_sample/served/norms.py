"""Norms with generated gain and shift: the norm without its affine part, then ⊙ γ_n + β_n."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.weights.layout import Layout
from hypernetworks.weights.per_sample.served.register import rows_of, serves, with_vector


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


def channel_norm(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What is called instead of F.batch_norm or F.instance_norm. Statistics over samples are those of all samples."""

    def serve(
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        rows = rows_of(norm.__name__, input, [0], weight, bias)
        # γ_n ⊙ norm(x)_n + β_n
        return affine(
            norm(input, running_mean, running_var, None, None, *args, **kwargs), weight, bias, rows, channel=1
        )

    return serve


for _norm in (F.batch_norm, F.instance_norm):
    serves(_norm)(channel_norm(_norm))
