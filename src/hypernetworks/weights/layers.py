"""Layers whose weight is generated: torch.nn.Linear and torch.nn.Conv2d, with a generator."""

from typing import Any

from torch import nn

from .generator import Generator
from .network import HyperNetwork


class HyperConv2d(HyperNetwork):
    """A torch.nn.Conv2d whose kernel is generated: y = K(c) * x + b. The bias, if there is one, is an ordinary parameter.

        conv = hn.HyperConv2d(16, 16, 7, padding=3, generator=hn.TiledKernelGenerator(4))
        y = conv(x)                              # the paper's maker takes no condition
        conv = hn.HyperConv2d(3, 16, 3, generator=hn.FullGenerator(8))
        y = conv(x, condition=c)                 # c (8,), or (B, 8): a kernel for each sample

    Arguments are those of torch.nn.Conv2d, then generator. Errors: as for `HyperNetwork`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, *args: Any, generator: Generator, **kwargs: Any
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size, *args, **kwargs), generator, "weight")


class HyperLinear(HyperNetwork):
    """A torch.nn.Linear whose matrix is generated: y = W(c) x + b. The bias, if there is one, is an ordinary parameter.

        linear = hn.HyperLinear(64, 10, generator=hn.FullGenerator(8))
        y = linear(x, condition=c)               # c (8,), or (B, 8): a matrix for each sample

    Arguments are those of torch.nn.Linear, then generator. Errors: as for `HyperNetwork`.
    """

    def __init__(self, in_features: int, out_features: int, *args: Any, generator: Generator, **kwargs: Any) -> None:
        super().__init__(nn.Linear(in_features, out_features, *args, **kwargs), generator, "weight")
