"""The paper's static hypernetwork: a two-layer kernel generator with a learned embedding z for each tile of a kernel.

    a_i = W_i z + B_i              for each input channel i of a tile
    K_i = W_out a_i + B_out        the tile's f×f filters from input channel i to all its output channels

A kernel with more channels than a tile is composed of blocks of tile × tile channels, each with its own z. All kernels of one
size f share these weights. Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106, section 3.1.

Z embedding, n tile, T tiles.  z (T, Z), W_in (n, Z, Z): all W_i, B_in (n, Z), W_out (n f², Z), B_out (n f²).
"""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_choice, check_positive, check_sizes
from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.generators.init import FORMS, normal_, wanted_variance
from hypernetworks.weights.selection import TargetWeight


class KernelMaker(nn.Module):
    """Generates all kernels of one size; holds the embeddings of their tiles."""

    def __init__(self, weights: Sequence[TargetWeight], embedding_size: int, tile: int) -> None:
        super().__init__()
        like = weights[0].value
        made = {"device": like.device, "dtype": like.dtype}
        self.names: list[str] = [weight.name for weight in weights]
        self.field: torch.Size = weights[0].shape[2:]
        self.grids: list[tuple[int, int]] = [(weight.shape[0] // tile, weight.shape[1] // tile) for weight in weights]
        self.tile = tile
        Z, numbers = embedding_size, tile * math.prod(self.field)
        self.z: nn.Parameter = nn.Parameter(torch.empty(sum(rows * columns for rows, columns in self.grids), Z, **made))
        self.W_in: nn.Parameter = nn.Parameter(torch.empty(tile, Z, Z, **made))
        self.B_in: nn.Parameter = nn.Parameter(torch.zeros(tile, Z, **made))
        self.W_out: nn.Parameter = nn.Parameter(torch.empty(numbers, Z, **made))
        self.B_out: nn.Parameter = nn.Parameter(torch.zeros(numbers, **made))

    def reset_parameters(self, variances: Sequence[float]) -> None:
        """Initialise kernel k to variance s_k: Var(W_in) = 1/Z, Var(W_out) = max s / Z, Var(z) = s_k / max s; B_in = B_out = 0.

        Var(K) = Z Var(W_out) · Z Var(W_in) Var(z). Kernels with different fans differ in their embeddings, because they share
        all other weights. For a single kernel Var(z) = 1, which is the hyperfan scheme with V = 1 before the last layer.
        """
        Z, largest = self.z.shape[1], max(variances)
        normal_(self.W_in.data, 1 / Z)
        normal_(self.W_out.data, largest / Z)
        start = 0
        for (rows, columns), variance in zip(self.grids, variances, strict=True):
            normal_(self.z.data[start : start + rows * columns], variance / largest)
            start += rows * columns

    def forward(self) -> dict[str, Tensor]:
        """Generate all kernels of this size."""
        n = self.tile
        # a_i = W_i z + B_i                                        (T, n, Z)
        a = torch.einsum("tz,iyz->tiy", self.z, self.W_in) + self.B_in
        # K_i = W_out a_i + B_out                                  (T, n in, n out · f²)
        K = nn.functional.linear(a, self.W_out, self.B_out)
        tiles = K.unflatten(-1, (n, -1)).split([rows * columns for rows, columns in self.grids])
        made = {}
        for name, (rows, columns), part in zip(self.names, self.grids, tiles, strict=True):
            # (rows, columns, in, out, f²) -> (rows · out, columns · in, *f)
            blocks = part.unflatten(0, (rows, columns)).permute(0, 3, 1, 2, 4)
            made[name] = blocks.reshape(rows * n, columns * n, *self.field)
        return made


class TiledKernelGenerator(Generator):
    """The paper's kernel generator: convolution kernels from learned embeddings, a_i = W_i z + B_i, K_i = W_out a_i + B_out.

    Each tile of tile × tile channels has its own embedding z. All kernels of one size f share the other weights. It takes no
    condition: call `net(x)`. It has far fewer parameters than the kernels (7×7×16×16 from 4,240 + 4 numbers at Z = 4). Biases
    that are selected along with their kernels stay ordinary parameters.

    Args:
        embedding_size: Z, the size of each z and a_i: 4 for MNIST and 64 for CIFAR-10 in the paper.
        tile: the channels of a tile: 16 in the paper. The channels of every kernel must be multiples of it.
        init: "hyperfan-in" (default), "hyperfan-out" or "hyperfan-harmonic". It cannot start at given kernels.
        gain: 2 for a target with ReLU, 1 for a linear one.

    Raises:
        ValueError: a selected parameter is not a convolution kernel, or its channels are not multiples of the tile.
        TypeError: an argument has the wrong type.

    Source: HyperNetworks, arXiv 1609.09106, section 3.1; initialisation after Chang et al. 2020, see `KernelMaker`.

    Example:
        >>> target = torch.nn.Conv2d(16, 32, 3, padding=1)
        >>> net = hn.HyperNetwork(target, hn.TiledKernelGenerator(4))
        >>> net(torch.randn(2, 16, 8, 8)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(self, embedding_size: int, tile: int = 16, *, init: str = "hyperfan-in", gain: float = 2.0) -> None:
        super().__init__()
        check_sizes(embedding_size=embedding_size, tile=tile)
        check_choice("init", init, tuple(FORMS))
        check_positive("gain", gain)
        self.embedding_size = embedding_size
        self.tile = tile
        self.init = init
        self.gain = gain

    def leaves(self, weight: TargetWeight) -> bool:
        """A bias is left unchanged."""
        return weight.kind == "bias"

    def build(self, weights: Sequence[TargetWeight]) -> None:
        """Make one `KernelMaker` per kernel size."""
        sizes: dict[torch.Size, list[TargetWeight]] = {}
        for weight in weights:
            self._check(weight)
            sizes.setdefault(weight.shape[2:], []).append(weight)
        self.makers: nn.ModuleList = nn.ModuleList()
        for same in sizes.values():
            maker = KernelMaker(same, self.embedding_size, self.tile)
            maker.reset_parameters([wanted_variance(weight, self.init, self.gain) for weight in same])
            self.makers.append(maker)

    def _check(self, weight: TargetWeight) -> None:
        if not isinstance(weight.module, nn.Conv1d | nn.Conv2d | nn.Conv3d) or weight.kind != "weight":
            owner = type(weight.module).__name__
            raise ValueError(f"the tiled generator makes convolution kernels only, and {weight.name} is a {owner}'s")
        n_out, n_in = weight.shape[:2]
        if n_out % self.tile or n_in % self.tile:
            expected = f"multiples of the tile, {self.tile}"
            raise ValueError(f"{weight.name} has {n_out} output and {n_in} input channels, which should be {expected}")

    def forward(self, condition: Tensor | None, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Generate all kernels."""
        made: dict[str, Tensor] = {}
        for maker in self.makers:
            made |= cast(KernelMaker, maker)()
        return made
