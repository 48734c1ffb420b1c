"""Whole tensors from a condition: W = reshape(H h + b_H), h = trunk(c), where one head has the rows (H, b_H) of every tensor W.

C condition, m width of the trunk.  c (C,) or (B, C); W has the target's shape, preceded by B for c (B, C).
"""

import warnings
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.callers import level_outside
from hypernetworks.weights.forms import Form, Full, LinearHead
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.generators.init import check_init, head_
from hypernetworks.weights.generators.trunk import check_trunk, shaped, trunk
from hypernetworks.weights.selection import TargetWeight


class FullGenerator(Generator):
    """Generates whole tensors: W = reshape(H h + b_H) with h = trunk(c), and rows (H, b_H) of one head for each tensor.

    Args:
        condition_size: C, the size of a condition.
        hidden: the widths of the trunk's hidden layers. With () every tensor is linear in c.
        init: "target" (default) starts at the target's own weights for every condition. "hyperfan-in", "hyperfan-out" and
            "hyperfan-harmonic" (Chang et al. 2020) start every condition at different weights of the right variance. Tensors
            without fans, such as a norm's gain and shift, always start at the target's own. See `weights/generators/init.py`.
        gain: r of the hyperfan schemes: 2 for a target with ReLU, 1 for a linear one.
        condition_moment: E[c²], the second moment of an entry of c: 1 for normal vectors and `TaskEmbedding`.
        activation: of the trunk: "relu" (default), "gelu", "silu" or "tanh".

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

    Warns:
        UserWarning: the heads would have more than 100 million parameters.

    Source: HyperNetworks, arXiv 1609.09106, and Chang, Flokas and Lipson, ICLR 2020.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.FullGenerator(8))
        >>> net(torch.randn(4, 3), condition=torch.randn(8)).shape           # one set of weights
        torch.Size([4, 2])
        >>> net(torch.randn(4, 3), condition=torch.randn(4, 8)).shape        # one set per sample
        torch.Size([4, 2])
    """

    def __init__(
        self,
        condition_size: int,
        hidden: Sequence[int] = (64,),
        *,
        init: str = "target",
        gain: float = 2.0,
        condition_moment: float = 1.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size)
        check_init(init, gain, condition_moment)
        self.condition_size: int | None = condition_size
        self.hidden: tuple[int, ...] = check_trunk(hidden, activation)
        self.activation = activation
        self.init = init
        self.gain = gain
        self.condition_moment = condition_moment

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk and the head, whose rows are those of all tensors."""
        like = weights[0].value
        _warn_of_size(self.hidden[-1] if self.hidden else self.condition_size or 0, weights)
        self.trunk: nn.Sequential
        self.trunk, width, moment = trunk(
            self.condition_size or 0, self.hidden, like, self.activation, self.condition_moment
        )
        self.shapes: list[torch.Size] = [weight.shape for weight in weights]
        self.sizes: list[int] = [weight.value.numel() for weight in weights]
        self.head: nn.Linear = nn.Linear(width, sum(self.sizes), device=like.device, dtype=like.dtype)
        H, b = (tensor.detach().split(self.sizes) for tensor in (self.head.weight, self.head.bias))
        for own_H, own_b, weight in zip(H, b, weights, strict=True):
            head_(own_H, own_b, weight, self.init, self.gain, moment)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate every tensor."""
        # W = reshape(H h + b_H)
        parts = self.head(self.trunk(condition)).split_with_sizes(self.sizes, -1)
        return {name: shaped(part, shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """Heads for matrices, whole tensors for everything else."""
        h = self.trunk(condition)
        made: dict[str, Form | Tensor] = {}
        H, b = self.head.weight.split(self.sizes), self.head.bias.split(self.sizes)
        for name, own_H, own_b, shape in zip(self.names, H, b, self.shapes, strict=True):
            whole = len(shape) != 2
            # W_n = reshape(H h_n + b_H)
            made[name] = Full(shaped(F.linear(h, own_H, own_b), shape)) if whole else LinearHead(own_H, own_b, h, shape)
        return made


LARGE = 100_000_000
"""Parameters of the heads above which a `FullGenerator` warns."""


def _warn_of_size(width: int, weights: Sequence[TargetWeight]) -> None:
    """Warn of heads with very many parameters: width + 1 for each generated number."""
    numbers, like = sum(weight.value.numel() for weight in weights), weights[0].value
    size = (width + 1) * numbers
    if size > LARGE:
        warnings.warn(
            f"FullGenerator makes {numbers / 1e6:,.1f} M numbers from {width} each, with {size / 1e6:,.0f} M parameters "
            f"({size * like.element_size() / 1e9:,.1f} GB). Select fewer (modules=...), make the last layer smaller "
            "(hidden=...), or use a LowRankGenerator or a ChunkedGenerator",
            stacklevel=level_outside(),
        )
