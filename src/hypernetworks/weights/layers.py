"""Layers with a generated weight: torch.nn.Linear and torch.nn.Conv2d with a generator."""

from typing import Any

from torch import nn

from hypernetworks.weights.generators.generator import Generator
from hypernetworks.weights.network import HyperNetwork


class HyperConv2d(HyperNetwork):
    """A torch.nn.Conv2d with a generated kernel: y = K(c) * x + b. The bias, if any, is an ordinary parameter.

    Args:
        in_channels, out_channels, kernel_size: and further arguments, as in torch.nn.Conv2d.
        generator: generates the kernel.

    Raises:
        ValueError, TypeError: as in `HyperNetwork`.

    Example:
        >>> conv = hn.HyperConv2d(16, 16, 7, padding=3, generator=hn.TiledKernelGenerator(4))
        >>> conv(torch.randn(2, 16, 9, 9)).shape                                     # this generator takes no condition
        torch.Size([2, 16, 9, 9])
        >>> conv = hn.HyperConv2d(3, 16, 3, generator=hn.FullGenerator(8))
        >>> conv(torch.randn(2, 3, 9, 9), condition=torch.randn(2, 8)).shape         # one kernel per sample
        torch.Size([2, 16, 7, 7])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *args: Any, generator: Generator, **kwargs: Any
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, *args, **kwargs), generator, "weight")


class HyperLinear(HyperNetwork):
    """A torch.nn.Linear with a generated matrix: y = W(c) x + b. The bias, if any, is an ordinary parameter.

    Args:
        in_features, out_features: and further arguments, as in torch.nn.Linear.
        generator: generates the matrix.

    Raises:
        ValueError, TypeError: as in `HyperNetwork`.

    Example:
        >>> linear = hn.HyperLinear(64, 10, generator=hn.FullGenerator(8))
        >>> linear(torch.randn(2, 64), condition=torch.randn(2, 8)).shape            # one matrix per sample
        torch.Size([2, 10])
    """

    def __init__(self, in_features: int, out_features: int, *args: Any, generator: Generator, **kwargs: Any) -> None:
        super().__init__(nn.Linear(in_features, out_features, *args, **kwargs), generator, "weight")
