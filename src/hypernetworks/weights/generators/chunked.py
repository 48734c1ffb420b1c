"""Chunks of one long vector from a condition: [W_1, W_2, ...] = cut([s g(c, e_1), s g(c, e_2), ...]).

One network g makes all chunks; e_k is the learned embedding of chunk k, and s a fixed number per tensor.

C condition, E embedding.  c (C,) or (B, C); W has the target's shape, preceded by B for c (B, C).
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_sizes
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.generators.init import check_init, wanted_variance
from hypernetworks.weights.generators.trunk import check_trunk, shaped, trunk
from hypernetworks.weights.selection import TargetWeight


class ChunkedGenerator(Generator):
    """Generates all tensors as chunks of one long vector: one small network g(c, e_k), and an embedding e_k for chunk k.

    g is a multi-layer perceptron with chunk_size outputs of variance 1. A tensor is its part of the long vector, multiplied by
    a fixed number s, the standard deviation at which it should start. One network can therefore serve layers with different
    fans.

    Args:
        condition_size: C, the size of a condition.
        chunk_size: the outputs of g. The surplus of the last chunk is discarded.
        embedding_size: the size of each e_k, which is learned and initialised from N(0, 1).
        hidden: the widths of g's hidden layers.
        init: "hyperfan-in" (default), "hyperfan-out" or "hyperfan-harmonic" determine s; tensors without fans, such as a
            norm's gain, are the target's own plus 0.1 g. With "target" every tensor is the target's own plus g / sqrt(n_in),
            with a zero last layer in g: every condition starts at the target's own weights, which are not trained.
        gain, condition_moment, activation: as in `FullGenerator`.

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
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_sizes(condition_size=condition_size, chunk_size=chunk_size, embedding_size=embedding_size)
        check_init(init, gain, condition_moment)
        self.condition_size: int | None = condition_size
        self.chunk_size = chunk_size
        self.embedding_size = embedding_size
        self.hidden: tuple[int, ...] = check_trunk(hidden, activation)
        self.activation = activation
        self.init = init
        self.gain = gain
        self.condition_moment = condition_moment

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make g and one embedding per chunk."""
        like = weights[0].value
        made = {"device": like.device, "dtype": like.dtype}
        C, E = self.condition_size or 0, self.embedding_size
        self.shapes: list[torch.Size] = [weight.shape for weight in weights]
        self.sizes: list[int] = [weight.value.numel() for weight in weights]
        self.scales: list[float] = [self._scale(weight) for weight in weights]
        self.onto_base: list[bool] = [self.init == "target" or weight.kind == "other" for weight in weights]
        chunks = math.ceil(sum(self.sizes) / self.chunk_size)
        self.embeddings: nn.Parameter = nn.Parameter(torch.randn(chunks, E, **made))
        # V of [c; e]: C entries with the condition's moment and E with 1
        moment = (C * self.condition_moment + E) / (C + E)
        self.trunk: nn.Sequential
        self.trunk, width, moment = trunk(C + E, self.hidden, like, self.activation, moment)
        self.head: nn.Linear = nn.Linear(width, self.chunk_size, **made)
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
