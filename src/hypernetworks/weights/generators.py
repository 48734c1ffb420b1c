"""Generators from a condition c: whole tensors, chunks of them, low-rank updates, and scaled rows.

    h     = ReLU(... ReLU(c))                                        the trunk, a multi-layer perceptron; h = c without it
    full      W = reshape(H h + b_H)                                 one head H per tensor W
    chunked   [W_1, W_2, ...] = cut([s g(c, e_1), s g(c, e_2), ...]) one network g, one embedding e per chunk
    low-rank  W = W_target + (α / r) B(c) A(c)                       B (n_out, r), A (r, rest)
    rows      W = d(c) ⊙ W_target                                    one scale per row

C condition, m width of the trunk, r rank.  c (C,) or (B, C); W has the target's shape, preceded by B for c (B, C).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_choice, check_positive, check_sizes
from hypernetworks.weights.forms import Form, Full, LinearHead, LowRank, RowScale
from hypernetworks.weights.generator import Generator, check_hidden, shaped, trunk
from hypernetworks.weights.init import SCHEMES, head_, wanted_variance
from hypernetworks.weights.selection import TargetWeight


class FullGenerator(Generator):
    """Generates whole tensors: W = reshape(H h + b_H) with h = trunk(c), and one head (H, b_H) per tensor.

    Args:
        condition_size: C, the size of a condition.
        hidden: the widths of the trunk's ReLU layers. With () every tensor is linear in c.
        init: "target" (default) starts at the target's own weights for every condition. "hyperfan-in", "hyperfan-out" and
            "hyperfan-harmonic" (Chang et al. 2020) start every condition at different weights of the right variance. Tensors
            without fans, such as a norm's gain and shift, always start at the target's own. See `weights/init.py`.
        gain: r of the hyperfan schemes: 2 for a target with ReLU, 1 for a linear one.
        condition_moment: E[c²], the second moment of an entry of c: 1 for normal vectors and `TaskEmbedding`.

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

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
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size)
        check_choice("init", init, SCHEMES)
        check_positive("gain", gain)
        check_positive("condition_moment", condition_moment)
        self.condition_size = condition_size
        self.hidden = check_hidden(hidden)
        self.init = init
        self.gain = gain
        self.condition_moment = condition_moment

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk and one head per tensor."""
        like = weights[0].value
        self.trunk, width = trunk(self.condition_size or 0, self.hidden, like)
        self.shapes = [weight.shape for weight in weights]
        self.heads = nn.ModuleList()
        for weight in weights:
            head = nn.Linear(width, weight.value.numel(), device=like.device, dtype=like.dtype)
            head_(head, weight, self.init, self.gain, self.condition_moment)
            self.heads.append(head)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate every tensor."""
        h = self.trunk(condition)
        # W = reshape(H h + b_H)
        return {
            name: shaped(head(h), shape) for name, head, shape in zip(self.names, self.heads, self.shapes, strict=True)
        }

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """Heads for matrices, whole tensors for everything else."""
        h = self.trunk(condition)
        made: dict[str, Form | Tensor] = {}
        for name, head, shape in zip(self.names, self.heads, self.shapes, strict=True):
            if len(shape) == 2:
                made[name] = LinearHead(head.weight, head.bias, h, shape)  # pyright: ignore[reportArgumentType]
            else:
                made[name] = Full(shaped(head(h), shape))
        return made


class ChunkedGenerator(Generator):
    """Generates all tensors as chunks of one long vector: one small network g(c, e_k), and an embedding e_k for chunk k.

    g is a ReLU network with chunk_size outputs of variance 1. A tensor is its part of the long vector, multiplied by a fixed
    number s, the standard deviation at which it should start. One network can therefore serve layers with different fans.

    Args:
        condition_size: C, the size of a condition.
        chunk_size: the outputs of g. The surplus of the last chunk is discarded.
        embedding_size: the size of each e_k, which is learned and initialised from N(0, 1).
        hidden: the widths of g's ReLU layers.
        init: "hyperfan-in" (default), "hyperfan-out" or "hyperfan-harmonic" determine s; tensors without fans, such as a
            norm's gain, are the target's own plus 0.1 g. With "target" every tensor is the target's own plus g / sqrt(n_in),
            with a zero last layer in g: every condition starts at the target's own weights, which are not trained.
        gain, condition_moment: as in `FullGenerator`.

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

    Source: von Oswald et al., "Continual learning with hypernetworks", ICLR 2020, section 2.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(30, 20), hn.ChunkedGenerator(8, chunk_size=64))
        >>> net(torch.randn(4, 30), condition=torch.randn(8)).shape
        torch.Size([4, 20])
    """

    def __init__(
        self,
        condition_size: int,
        chunk_size: int = 1024,
        embedding_size: int = 16,
        hidden: Sequence[int] = (64,),
        *,
        init: str = "hyperfan-in",
        gain: float = 2.0,
        condition_moment: float = 1.0,
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size, chunk_size=chunk_size, embedding_size=embedding_size)
        check_choice("init", init, SCHEMES)
        check_positive("gain", gain)
        check_positive("condition_moment", condition_moment)
        self.condition_size = condition_size
        self.chunk_size = chunk_size
        self.embedding_size = embedding_size
        self.hidden = check_hidden(hidden)
        self.init = init
        self.gain = gain
        self.condition_moment = condition_moment

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make g and one embedding per chunk."""
        like = weights[0].value
        made = {"device": like.device, "dtype": like.dtype}
        C, E = self.condition_size or 0, self.embedding_size
        self.shapes = [weight.shape for weight in weights]
        self.sizes = [weight.value.numel() for weight in weights]
        self.scales = [self._scale(weight) for weight in weights]
        self.onto_base = [self.init == "target" or weight.kind == "other" for weight in weights]
        chunks = math.ceil(sum(self.sizes) / self.chunk_size)
        self.embeddings = nn.Parameter(torch.randn(chunks, E, **made))
        self.trunk, width = trunk(C + E, self.hidden, like)
        self.head = nn.Linear(width, self.chunk_size, **made)
        # V of [c; e]: C entries with the condition's moment and E with 1
        moment = (C * self.condition_moment + E) / (C + E)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.0 if self.init == "target" else (width * moment) ** -0.5)

    def uses_base(self, name: str) -> bool:
        """Whether a tensor is the target's own plus a generated one."""
        return self.onto_base[self.names.index(name)]

    def _scale(self, weight: TargetWeight) -> float:
        """s of one tensor. A variance of 0 (a fan-out bias) becomes a small one, because s = 0 could not be trained."""
        if weight.kind == "other":
            return 0.1
        wanted = 1 / weight.fan_in if self.init == "target" else wanted_variance(weight, self.init, self.gain)
        return (wanted or 0.01 / weight.fan_in) ** 0.5

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate every tensor from the chunks."""
        assert condition is not None
        leading = condition.shape[:-1]
        chunks = len(self.embeddings)
        c = condition.unsqueeze(-2).expand(*leading, chunks, condition.shape[-1])
        e = self.embeddings.expand(*leading, chunks, self.embedding_size)
        # g(c, e_k)
        numbers = self.head(self.trunk(torch.cat((c, e), dim=-1))).flatten(-2)
        parts = numbers[..., : sum(self.sizes)].split(self.sizes, dim=-1)
        # W = s g, or W_target + s g
        made = {}
        for k, name in enumerate(self.names):
            tensor = self.scales[k] * shaped(parts[k], self.shapes[k])
            made[name] = base[name].detach() + tensor if self.onto_base[k] else tensor
        return made


class LowRankGenerator(Generator):
    """Adds a generated low-rank matrix: W = W_target + (α / r) B(c) A(c), with B (n_out, r) and A (r, rest).

    W_target is trained if it requires gradients. If it is frozen, this is LoRA with a condition. B starts at 0, so that every
    condition starts at the target's own weights, and A(c) at variance 1/rest. A kernel is treated as a matrix
    (n_out, n_in·f·f). A vector, such as a bias or a norm's gain, gets a generated shift instead, b + v(c), which starts at 0.

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
        self.shapes = [weight.shape for weight in weights]
        self.heads = nn.ModuleList()
        for weight in weights:
            rows, rest = weight.shape[0] if weight.value.dim() else 1, math.prod(weight.shape[1:])
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
        h = self.trunk(condition)
        made = {}
        for name, heads, shape in zip(self.names, self.heads, self.shapes, strict=True):
            parts = [head(h) for head in heads]  # pyright: ignore[reportGeneralTypeIssues]
            if len(parts) == 1:
                # b + v(c)
                made[name] = base[name] + shaped(parts[0], shape)
                continue
            B, A = parts[0].unflatten(-1, (shape[0], self.rank)), parts[1].unflatten(-1, (self.rank, -1))
            # W = W_target + (α / r) B(c) A(c)
            made[name] = base[name] + shaped((self.alpha / self.rank * (B @ A)).flatten(-2), shape)
        return made

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """B and A for matrices and kernels, whole tensors for vectors."""
        h = self.trunk(condition)
        made: dict[str, Form | Tensor] = {}
        for name, heads, shape in zip(self.names, self.heads, self.shapes, strict=True):
            parts = [head(h) for head in heads]  # pyright: ignore[reportGeneralTypeIssues]
            if len(parts) == 1:
                made[name] = Full(base[name] + shaped(parts[0], shape))
            else:
                B, A = parts[0].unflatten(-1, (shape[0], self.rank)), parts[1].unflatten(-1, (self.rank, -1))
                made[name] = LowRank(base[name], B, A, self.alpha / self.rank)
        return made


class RowScaleGenerator(Generator):
    """Scales the rows of the target's own tensors: W = d(c) ⊙ W_target, with one scale per entry of the first dimension.

    W_target is trained if it requires gradients. d starts at 1 for every condition.

    Args:
        condition_size: C, the size of a condition.
        hidden: the widths of the trunk's ReLU layers. With () d is linear in c.

    Raises:
        ValueError: an argument has an impossible value.
        TypeError: an argument has the wrong type.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2, where it is applied to recurrent networks.

    Example:
        >>> net = hn.HyperNetwork(torch.nn.Linear(3, 2), hn.RowScaleGenerator(8))
        >>> net(torch.randn(4, 3), condition=torch.randn(4, 8)).shape
        torch.Size([4, 2])
    """

    def __init__(self, condition_size: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size)
        self.condition_size = condition_size
        self.hidden = check_hidden(hidden)

    def trains_base(self, name: str) -> bool:
        """Always: the generated tensor contains W_target."""
        return True

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the trunk and one head for the scales of all tensors."""
        like = weights[0].value
        self.trunk, width = trunk(self.condition_size or 0, self.hidden, like)
        self.rows = [weight.shape[0] if weight.value.dim() else 1 for weight in weights]
        self.dims = [weight.value.dim() for weight in weights]
        self.head = nn.Linear(width, sum(self.rows), device=like.device, dtype=like.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.ones_(self.head.bias)

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scale the rows of the target's tensors."""
        scales = self.head(self.trunk(condition)).split(self.rows, dim=-1)
        made = {}
        for name, d, dims in zip(self.names, scales, self.dims, strict=True):
            # W = d(c) ⊙ W_target
            d = d.reshape(*d.shape[:-1], *((-1,) if dims else ()), *(1,) * (dims - 1))
            made[name] = d * base[name]
        return made

    def forms(self, condition: Tensor, base: Mapping[str, Tensor]) -> dict[str, Form | Tensor]:
        """Scales for matrices and kernels, whole tensors for vectors."""
        scales = self.head(self.trunk(condition)).split(self.rows, dim=-1)
        made: dict[str, Form | Tensor] = {}
        for name, d, dims in zip(self.names, scales, self.dims, strict=True):
            made[name] = RowScale(base[name], d) if dims > 1 else Full((d if dims else d.squeeze(-1)) * base[name])
        return made
