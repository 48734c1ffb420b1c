"""Low-rank updates from heads that many modules share: which module it is, is part of the input.

    h_k = trunk([c; e_kind(k); e_layer(k)]),   W_k = W_target + (α / r) B(h_k) A(h_k)

The name "layers.3.attention.q.weight" has the kind "layers.*.attention.q.weight" and the layer (3,). Each kind and each layer
has a learned embedding, and each shape of matrix one pair of heads.

C condition, E embedding, N tensors.  c (C,) or (B, C); h (N, m) or (B, N, m).
"""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.generators.factors import Factors
from hypernetworks.weights.generators.low_rank import LowRankGenerator
from hypernetworks.weights.generators.trunk import trunk
from hypernetworks.weights.selection import TargetWeight


class SharedLowRankGenerator(LowRankGenerator):
    """A `LowRankGenerator` whose heads are shared by all tensors of one shape: W = W_target + (α / r) B(h) A(h).

    The trunk's input is [c; e_kind; e_layer]: the condition, and learned embeddings of the kind of the module and of its layer.
    Its size does not grow with the number of layers. Kinds and layers are read from the names: numbers in a name are the layer,
    the rest is the kind.

    Args:
        condition_size: C, the size of a condition.
        rank, alpha, hidden, activation: as in `LowRankGenerator`.
        embedding_size: E, the size of each embedding, initialised from N(0, 1).

    Raises:
        ValueError: an argument has an impossible value, or the rank exceeds a dimension of a matrix.
        TypeError: an argument has the wrong type.

    Source: Charakorn et al., "Text-to-LoRA", arXiv 2506.06105.

    Example:
        >>> layer = torch.nn.TransformerEncoderLayer(16, 2, 32)
        >>> target = torch.nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).requires_grad_(False)
        >>> net = hn.HyperNetwork(target, hn.SharedLowRankGenerator(8, rank=2), ["*.linear1.weight", "*.linear2.weight"])
        >>> net.generator.kinds.shape, net.generator.layers.shape           # two kinds, three layers
        (torch.Size([2, 16]), torch.Size([3, 16]))
    """

    kind_of: Tensor
    layer_of: Tensor

    def __init__(
        self,
        condition_size: int,
        rank: int = 4,
        alpha: float | None = None,
        hidden: Sequence[int] = (64,),
        *,
        embedding_size: int = 16,
        activation: str = "relu",
    ) -> None:
        super().__init__(condition_size, rank, alpha, hidden, activation=activation)
        check_sizes(embedding_size=embedding_size)
        self.embedding_size = embedding_size

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make the embeddings, the trunk, and the heads of each shape."""
        like = weights[0].value
        self._describe(weights)
        kinds, layers = zip(*(_kind_and_layer(weight.name) for weight in weights), strict=True)
        for name, found in (("kind", kinds), ("layer", layers)):
            rank = {each: k for k, each in enumerate(dict.fromkeys(found))}
            index = torch.tensor([rank[each] for each in found], device=like.device)
            self.register_buffer(f"{name}_of", index, persistent=False)
            table = torch.randn(len(rank), self.embedding_size, device=like.device, dtype=like.dtype)
            self.register_parameter(f"{name}s", nn.Parameter(table))
        inputs = (self.condition_size or 0) + 2 * self.embedding_size
        self.trunk: nn.Sequential
        self.trunk, width, moment = trunk(inputs, self.hidden, like, self.activation)
        shapes = list(dict.fromkeys(self.sizes))
        self.head_of: list[int] = [shapes.index(sizes) for sizes in self.sizes]
        self.heads: nn.ModuleList = nn.ModuleList(self._heads(sizes, width, moment, like) for sizes in shapes)

    def _updates(self, condition: Tensor | None) -> Iterator[Factors | Tensor]:
        """The factors of each matrix, and v(c) of each vector."""
        assert condition is not None
        # [c; e_kind; e_layer]
        e = torch.cat((cast(Tensor, self.kinds)[self.kind_of], cast(Tensor, self.layers)[self.layer_of]), dim=-1)
        lead, N = condition.shape[:-1], len(self.names)
        inputs = torch.cat((condition.unsqueeze(-2).expand(*lead, N, -1), e.expand(*lead, N, -1)), dim=-1)
        h = self.trunk(inputs)
        # each pair of heads makes the numbers of all its tensors at once
        members = [[k for k, head in enumerate(self.head_of) if head == which] for which in range(len(self.heads))]
        made: dict[int, list[Tensor]] = {}
        for heads, own in zip(self.heads, members, strict=True):
            numbers = [head(h[..., own, :]).unbind(-2) for head in cast(nn.ModuleList, heads)]
            made |= dict(zip(own, map(list, zip(*numbers, strict=True)), strict=True))
        for k, sizes in enumerate(self.sizes):
            yield self._update(made[k], sizes)


def _kind_and_layer(name: str) -> tuple[str, tuple[int, ...]]:
    """The name with its numbers replaced, and the numbers."""
    parts = name.split(".")
    kind = ".".join("*" if part.isdecimal() else part for part in parts)
    return kind, tuple(int(part) for part in parts if part.isdecimal())
