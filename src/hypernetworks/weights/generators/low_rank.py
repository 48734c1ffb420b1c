"""Low-rank updates from a condition: W = W_target + (α / r) B(c) A(c).

C condition, r rank.  c (C,) or (B, C); A (r, rest), B (n_out, r); W has the target's shape, preceded by B for c (B, C).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_positive, check_sizes
from hypernetworks.weights.checks import check_condition
from hypernetworks.weights.forms import Form, Full, LowRank
from hypernetworks.weights.generators.factors import Factors
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.generators.init import normal_
from hypernetworks.weights.generators.trunk import check_trunk, shaped, trunk
from hypernetworks.weights.selection import TargetWeight
from hypernetworks.weights.storage import Storage


class LowRankGenerator(Generator):
    """Adds a generated low-rank matrix: W = W_target + (α / r) B(c) A(c), with B (n_out, r) and A (r, rest).

    W_target is trained if it requires gradients. If it is frozen, this is LoRA with a condition. It may be zero. B starts at 0,
    so that every condition starts at the target's own weights, and A(c) at variance 1/rest. A kernel is treated as a matrix
    (n_out, n_in·f·f), also where the layer stores its inputs first (see `outputs_last`). A vector, such as a bias or a norm's
    gain, gets a generated shift instead, b + v(c), which starts at 0.

    Args:
        condition_size: C, the size of a condition.
        rank: r, at most the smaller dimension of every matrix.
        alpha: α. The default is r, for a factor of 1.
        hidden: the widths of the trunk's hidden layers. With () A and B are linear in c.
        activation: of the trunk: "relu" (default), "gelu", "silu" or "tanh".

    Raises:
        ValueError: an argument has an impossible value, or the rank exceeds a dimension of a matrix.
        TypeError: an argument has the wrong type.

    Source: Hu et al., "LoRA", arXiv 2106.09685, section 4.1.

    Example:
        >>> target = torch.nn.Linear(30, 20).requires_grad_(False)
        >>> net = hn.HyperNetwork(target, hn.LowRankGenerator(8, rank=2))
        >>> net(torch.randn(4, 30), condition=torch.randn(4, 8)).shape
        torch.Size([4, 20])
    """

    def __init__(
        self,
        condition_size: int,
        rank: int = 4,
        alpha: float | None = None,
        hidden: Sequence[int] = (64,),
        *,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size, rank=rank)
        if alpha is not None:
            check_positive("alpha", alpha)
        self.condition_size: int | None = condition_size
        self.rank = rank
        self.alpha: float = float(rank) if alpha is None else alpha
        self.hidden: tuple[int, ...] = check_trunk(hidden, activation)
        self.activation = activation

    def trains_base(self, name: str) -> bool:
        """Always: the generated tensor contains W_target."""
        return True

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk, and the heads for A and B of each matrix or v of each vector."""
        like = weights[0].value
        self._describe(weights)
        self.trunk: nn.Sequential
        self.trunk, width, moment = trunk(self.condition_size or 0, self.hidden, like, self.activation)
        self.heads: nn.ModuleList = nn.ModuleList(self._heads(sizes, width, moment, like) for sizes in self.sizes)

    def _describe(self, weights: Sequence[TargetWeight]) -> None:
        """Record n_out and rest of each matrix, or n of each vector."""
        self.storages: list[Storage] = [weight.storage for weight in weights]
        self.shapes: list[torch.Size] = [weight.shape for weight in weights]
        self.sizes: list[tuple[int, ...]] = []
        for weight in weights:
            rows, rest = weight.storage.rows(weight.shape), weight.storage.rest(weight.shape)
            matrix = weight.value.dim() > 1
            if matrix and self.rank > min(rows, rest):
                raise ValueError(f"rank {self.rank} does not fit {weight.name}, a matrix of {rows} by {rest}")
            self.sizes.append((rows, rest) if matrix else (rows,))

    def _heads(self, sizes: tuple[int, ...], width: int, moment: float, like: Tensor) -> nn.ModuleList:
        """Heads for B and A of a matrix of these sizes, or for v of a vector."""
        numbers = [size * self.rank for size in sizes] if len(sizes) == 2 else sizes
        heads = [nn.Linear(width, number, device=like.device, dtype=like.dtype) for number in numbers]
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        if len(sizes) == 2:
            normal_(heads[1].weight, 1 / (width * moment * sizes[1]))
        return nn.ModuleList(heads)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the updates to the target's tensors."""
        made = {}
        for name, update, storage, shape in zip(
            self.names, self._updates(condition), self.storages, self.shapes, strict=True
        ):
            if isinstance(update, Factors):
                # W = W_target + (α / r) B(c) A(c)
                made[name] = base[name] + storage.stored(update.product(), shape)
            else:
                # b + v(c)
                made[name] = base[name] + shaped(update, shape)
        return made

    def make_forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """B and A of matrices and kernels, whole tensors for vectors and for transposed kernels."""
        made: dict[str, Form | Tensor] = {}
        for name, update, storage, shape in zip(
            self.names, self._updates(condition), self.storages, self.shapes, strict=True
        ):
            if not isinstance(update, Factors):
                made[name] = Full(base[name] + shaped(update, shape))
            elif not storage.inputs_first:
                made[name] = LowRank(base[name], update.B, update.A, update.scale)
            elif len(shape) == 2:
                made[name] = LowRank(base[name], update.A.mT, update.B.mT, update.scale)
            else:
                made[name] = Full(base[name] + storage.stored(update.product(), shape))
        return made

    def factors(self, condition: Tensor | None) -> dict[str, Factors]:
        """A(c), B(c) and α / r of every matrix, by name. The shifts of vectors are not among them.

        Raises:
            ValueError: the condition has another shape than (C,) or (N, C).
        """
        check_condition(self.condition_size, type(self).__name__, condition)
        condition, _ = self.prepare(condition, {})
        updates = zip(self.names, self._updates(condition), strict=True)
        return {name: update for name, update in updates if isinstance(update, Factors)}

    def _updates(self, condition: Tensor | None) -> Iterator[Factors | Tensor]:
        """The factors of each matrix, and v(c) of each vector."""
        h = self.trunk(condition)
        for heads, sizes in zip(self.heads, self.sizes, strict=True):
            yield self._update([head(h) for head in cast(nn.ModuleList, heads)], sizes)

    def _update(self, numbers: Sequence[Tensor], sizes: tuple[int, ...]) -> Factors | Tensor:
        """The factors of a matrix, or v of a vector, from the numbers that its heads make."""
        if len(numbers) == 1:
            return numbers[0]
        B, A = numbers
        return Factors(A.unflatten(-1, (self.rank, -1)), B.unflatten(-1, (sizes[0], -1)), self.alpha / self.rank)
