"""Scaled rows from a condition: W = d(c) ⊙ W_target, one scale per row.

C condition.  c (C,) or (B, C); W has the target's shape, preceded by B for c (B, C).
"""

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.callers import level_outside
from hypernetworks.weights.forms import Form, Full, RowScale
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.generators.trunk import check_trunk, trunk
from hypernetworks.weights.selection import TargetWeight
from hypernetworks.weights.storage import Storage


class RowScaleGenerator(Generator):
    """Scales the rows of the target's own tensors: W = d(c) ⊙ W_target, with one scale per output of a layer.

    Rows are outputs also in layers that store their inputs first, such as transposed convolutions (see `outputs_last`). Other
    tensors, such as a bias, a norm's gain or a table of embeddings, have one scale per entry of their first dimension.
    W_target is trained if it requires gradients. d starts at 1 for every condition. Tensors that are zero and not trained stay
    zero whatever d is: a warning names them.

    Args:
        condition_size: C, the size of a condition.
        hidden: the widths of the trunk's hidden layers. With () d is linear in c.
        activation: of the trunk: "relu" (default), "gelu", "silu" or "tanh".

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2, where it is applied to recurrent networks.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.RowScaleGenerator(8))
        >>> net(torch.randn(4, 3), condition=torch.randn(4, 8)).shape
        torch.Size([4, 2])
    """

    def __init__(self, condition_size: int, hidden: Sequence[int] = (64,), *, activation: str = "relu") -> None:
        super().__init__()
        check_sizes(condition_size=condition_size)
        self.condition_size: int | None = condition_size
        self.hidden: tuple[int, ...] = check_trunk(hidden, activation)
        self.activation = activation

    def trains_base(self, name: str) -> bool:
        """Always: the generated tensor contains W_target."""
        return True

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk and one head for the scales of all tensors."""
        _warn_of_zeros(weights)
        like = weights[0].value
        self.trunk: nn.Sequential
        self.trunk, width, _ = trunk(self.condition_size or 0, self.hidden, like, self.activation)
        self.storages: list[Storage] = [weight.storage for weight in weights]
        self.shapes: list[torch.Size] = [weight.shape for weight in weights]
        self.rows: list[int] = [weight.storage.rows(weight.shape) for weight in weights]
        self.head: nn.Linear = nn.Linear(width, sum(self.rows), device=like.device, dtype=like.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.ones_(self.head.bias)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scale the rows of the target's tensors."""
        scales = self.head(self.trunk(condition)).split(self.rows, dim=-1)
        made = {}
        for name, d, storage, shape in zip(self.names, scales, self.storages, self.shapes, strict=True):
            # W = d(c) ⊙ W_target
            made[name] = storage.along_rows(d, shape) * base[name]
        return made

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """Scales of matrices and kernels, whole tensors for vectors and for grouped transposed kernels."""
        scales = self.head(self.trunk(condition)).split(self.rows, dim=-1)
        made: dict[str, Form | Tensor] = {}
        for name, d, storage, shape in zip(self.names, scales, self.storages, self.shapes, strict=True):
            if len(shape) > 1 and storage.groups == 1:
                made[name] = RowScale(base[name], d, 1 if storage.inputs_first else 0)
            else:
                made[name] = Full(storage.along_rows(d, shape) * base[name])
        return made


def _warn_of_zeros(weights: Sequence[TargetWeight]) -> None:
    """Warn of tensors that stay zero for ever: d ⊙ 0 is 0, and so is the gradient of d."""
    frozen = [weight for weight in weights if not (weight.value.requires_grad or weight.value.is_meta)]
    zero = [weight.name for weight in frozen if not weight.value.any()]
    if zero:
        warnings.warn(
            f"RowScaleGenerator cannot change {', '.join(zero)}: scaled zeros are zeros, and these parameters are not trained "
            "themselves. Leave them out (modules=...), train them (requires_grad_()), or give them a LowRankGenerator "
            "(GeneratorSplit)",
            stacklevel=level_outside(),
        )
