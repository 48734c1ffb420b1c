"""Low-rank updates from a condition: W = W_target + (α / r) B(c) A(c).

C condition, r rank.  c (C,) or (B, C); A (r, rest), B (n_out, r); W has the target's shape, preceded by B for c (B, C).
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_positive, check_sizes
from hypernetworks.weights.factors import Factors
from hypernetworks.weights.generator import Generator
from hypernetworks.weights.selection import TargetWeight
from hypernetworks.weights.trunk import check_hidden, shaped, trunk


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
        hidden: the widths of the trunk's ReLU layers. With () A and B are linear in c.

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
        self, condition_size: int, rank: int = 4, alpha: float | None = None, hidden: Sequence[int] = (64,)
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size, rank=rank)
        if alpha is not None:
            check_positive("alpha", alpha)
        self.condition_size = condition_size
        self.rank = rank
        self.alpha = float(rank) if alpha is None else alpha
        self.hidden = check_hidden(hidden)

    def trains_base(self, name: str) -> bool:
        """Always: the generated tensor contains W_target."""
        return True

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk, and the heads for A and B of each matrix or v of each vector."""
        like = weights[0].value
        self.trunk, width = trunk(self.condition_size or 0, self.hidden, like)
        self.storages = [weight.storage for weight in weights]
        self.shapes = [weight.shape for weight in weights]
        self.heads = nn.ModuleList()
        for weight in weights:
            rows, rest = weight.storage.rows(weight.shape), weight.storage.rest(weight.shape)
            if weight.value.dim() < 2:
                sizes = (rows,)
            elif self.rank > min(rows, rest):
                raise ValueError(f"rank {self.rank} does not fit {weight.name}, a matrix of {rows} by {rest}")
            else:
                sizes = (rows * self.rank, self.rank * rest)
            heads = nn.ModuleList(nn.Linear(width, size, device=like.device, dtype=like.dtype) for size in sizes)
            for head in heads:
                nn.init.zeros_(head.weight)  # pyright: ignore[reportArgumentType]
                nn.init.zeros_(head.bias)  # pyright: ignore[reportArgumentType]
            if len(sizes) == 2:
                nn.init.normal_(heads[1].weight, std=(width * rest) ** -0.5)  # pyright: ignore[reportArgumentType]
            self.heads.append(heads)

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

    def factors(self, condition: Tensor | None) -> dict[str, Factors]:
        """A(c), B(c) and α / r of every matrix, by name. The shifts of vectors are not among them."""
        condition, _ = self.prepare(condition, {})
        updates = zip(self.names, self._updates(condition), strict=True)
        return {name: update for name, update in updates if isinstance(update, Factors)}

    def _updates(self, condition: Tensor | None) -> Iterator[Factors | Tensor]:
        """The factors of each matrix, and v(c) of each vector."""
        h = self.trunk(condition)
        for heads, storage, shape in zip(self.heads, self.storages, self.shapes, strict=True):
            parts = [head(h) for head in heads]  # pyright: ignore[reportGeneralTypeIssues]
            if len(parts) == 1:
                yield parts[0]
            else:
                B, A = parts[0].unflatten(-1, (storage.rows(shape), self.rank)), parts[1].unflatten(-1, (self.rank, -1))
                yield Factors(A, B, self.alpha / self.rank)
