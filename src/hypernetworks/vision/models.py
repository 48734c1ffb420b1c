"""The paper's image networks, with kernels that are learned or that one small network makes.

    conv   conv 7×7×16, ReLU, max pool 2 → conv 7×7×16, ReLU, max pool 2 → dense                     28 × 28, one channel
    wrn    conv 3×3×16 → groups 2, 3, 4 of n blocks, 16k, 32k and 64k channels, the first block of groups 3 and 4 at stride 2
           → norm, ReLU, mean over places → dense                             32 × 32, three channels; depth 6n + 4, width k
    block  y = shortcut(x) + conv(ReLU(norm(conv(ReLU(norm(x))))))

The shortcut has no parameters: every second row and column at stride 2, channels filled up with zeros (He et al. 2016,
option A). All convolutions have biases. With kernels "generated", one two-layer network makes kernel 2 of the conv net, or all
kernels of groups 2 to 4, from an embedding for each 16 × 16 tile. So the parameters are the paper's: 96,570 (depth 40, k = 1)
and 147,578 (k = 2). Ha, Dai and Le, "HyperNetworks", arXiv 1609.09106; Zagoruyko and Komodakis, 1605.07146.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hypernetworks.errors import UsageError, check_count
from hypernetworks.vision.formats import CLASSES
from hypernetworks.weights import HyperNetwork, TiledKernelGenerator

Network = Literal["conv", "wrn"]
Kernels = Literal["plain", "generated"]


@dataclass(frozen=True)
class ModelConfig:
    """What an image network is made of. Contradictory or impossible settings fail when made, with a UsageError."""

    network: Network = "conv"
    """conv: the small net for MNIST. wrn: a wide residual net for CIFAR-10."""
    kernels: Kernels = "plain"
    """plain: learned. generated: made by one small network, kernel 2 of conv, all kernels of groups 2 to 4 of wrn."""
    depth: int = 40
    """6n + 4, n blocks in each group (wrn)."""
    width: int = 1
    """k: groups have 16k, 32k and 64k channels (wrn)."""
    embedding_size: int = 4
    """N_z, the numbers that a tile of 16 × 16 kernels is made from (generated kernels); the paper's: conv 4, wrn 64."""

    def __post_init__(self) -> None:
        for name, choices in (("network", get_args(Network)), ("kernels", get_args(Kernels))):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} should be {' or '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("width", "embedding_size"):
            check_count(name, getattr(self, name))
        if self.depth < 10 or self.depth % 6 != 4:
            raise UsageError(f"depth should be 6n + 4 with n at least 1 (10, 16, 22, …), got {self.depth}")


class ConvNet(nn.Module):
    """The MNIST net: images (B, 1, 28, 28) to logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 7, padding=3)
        self.conv2 = nn.Conv2d(16, 16, 7, padding=3)
        self.head = nn.Linear(16 * 7 * 7, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.head(x.flatten(1))


class Block(nn.Module):
    """Two convolutions beside a shortcut: (B, C_in, H, H) to (B, C_out, H/stride, H/stride)."""

    def __init__(self, C_in: int, C_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.more = stride, C_out - C_in
        self.norm1 = nn.BatchNorm2d(C_in)
        self.conv1 = nn.Conv2d(C_in, C_out, 3, stride, padding=1)
        self.norm2 = nn.BatchNorm2d(C_out)
        self.conv2 = nn.Conv2d(C_out, C_out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The block's equation."""
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], [0, 0, 0, 0, 0, self.more])
        # y = shortcut(x) + conv(ReLU(norm(conv(ReLU(norm(x))))))
        y = self.conv1(F.relu(self.norm1(x)))
        return shortcut + self.conv2(F.relu(self.norm2(y)))


class WideResNet(nn.Module):
    """The CIFAR-10 net: images (B, 3, 32, 32) to logits (B, 10)."""

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        groups, C = [], 16
        for number in range(3):
            C_out = 16 * width * 2**number
            strides = [1 if number == 0 else 2] + [1] * ((depth - 4) // 6 - 1)
            groups.append(nn.Sequential(*(Block(C if b == 0 else C_out, C_out, s) for b, s in enumerate(strides))))
            C = C_out
        self.groups = nn.Sequential(*groups)
        self.norm = nn.BatchNorm2d(C)
        self.head = nn.Linear(C, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        # this layout makes a step a quarter shorter on a processor of two cores
        x = self.groups(self.conv1(images.contiguous(memory_format=torch.channels_last)))
        return self.head(F.relu(self.norm(x)).mean(dim=(2, 3)))


def make_model(config: ModelConfig) -> nn.Module:
    """The network of a config: images (B, C, H, H) to logits (B, 10); PyTorch's default device and dtype."""
    net = ConvNet() if config.network == "conv" else WideResNet(config.depth, config.width)
    if config.kernels == "plain":
        return net
    return HyperNetwork(net, TiledKernelGenerator(config.embedding_size, tile=16), modules=_is_generated)


def _is_generated(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and (name == "conv2" or name.startswith("groups."))


def kernel_shown(model: nn.Module) -> Tensor:
    """The kernel that pictures show, (16, 16, f, f): the conv net's second, or the last of group 2's first block."""
    net = model.target if isinstance(model, HyperNetwork) else model
    name = "conv2.weight" if isinstance(net, ConvNet) else "groups.0.0.conv2.weight"
    with torch.no_grad():
        return model.generate()[name] if isinstance(model, HyperNetwork) else net.get_parameter(name).detach()


def count_parameters(config: ModelConfig) -> int:
    """The learned numbers of a config's network; running statistics of norms are none."""
    with torch.random.fork_rng():
        return sum(p.numel() for p in make_model(config).parameters() if p.requires_grad)
