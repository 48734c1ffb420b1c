"""The matrix products of a HyperLSTM of this size, alone: a lower bound on its time.

    forward    once   [W_x; Ŵ_x] x                                           for all N = T·B rows
               per t  [W_h; Ŵ_h] h,  Û ĥ,  P ĥ,  D_a z_a (12 blocks)
    backward   per t  the transposed products, from the gradients of their outputs to those of their inputs
               once   that of [W_x; Ŵ_x], and for each weight its gradient over all N rows

x and h each meet G = 4H + 4K rows of weights. The products of D are batched (torch.bmm); all others are torch.mm.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from hypernetworks.bench.implementation import Implementation, RunResult
from hypernetworks.bench.sizes import Quantity, Size

BLOCKS = 12
"""z and d for each of h, x, b and each of the four gates."""


class Product(NamedTuple):
    """`times` consecutive products of (m, k) by (k, n), each a batch of `blocks`."""

    times: int
    m: int
    k: int
    n: int
    blocks: int = 1

    @property
    def flops(self) -> int:
        """2 · times · blocks · m · k · n."""
        return 2 * self.times * self.blocks * self.m * self.k * self.n


def forward_products(size: Size) -> list[Product]:
    """The products of the forward pass."""
    T, B, I, H, K, Z = size[1:7]
    G = 4 * H + 4 * K
    return [
        Product(1, T * B, I, G),
        Product(T, B, H, G),
        Product(T, B, K, 4 * K),
        Product(T, B, K, BLOCKS * Z),
        Product(T, B, Z, H, BLOCKS),
    ]


def lstm_products(size: Size) -> list[Product]:
    """The products of a plain LSTM's forward pass."""
    T, B, I, H = size[1:5]
    return [Product(1, T * B, I, 4 * H), Product(T, B, H, 4 * H)]


def backward_products(forward: list[Product], N: int) -> list[Product]:
    """The products of the backward pass: for (m, k) by (k, n) the input's gradient (m, n) by (n, k), then the weight's."""
    to_inputs = [Product(times, m, n, k, blocks) for times, m, k, n, blocks in forward]
    to_weights = [Product(1, k, N, n, blocks) for _, _, k, n, blocks in forward]
    return to_inputs + to_weights


def flops(forward: list[Product], size: Size) -> dict[Quantity, int]:
    """Additions and multiplications of a forward pass and of a training step."""
    training = forward + backward_products(forward, size.T * size.B)
    return {
        "forward": sum(product.flops for product in forward),
        "training": sum(product.flops for product in training),
    }


class Products(Implementation):
    """The products as an implementation. Their results are not compared."""

    name = "products"

    def __init__(self, size: Size) -> None:
        forward = forward_products(size)
        training = forward + backward_products(forward, size.T * size.B)
        self.flops: Mapping[Quantity, int] = flops(forward, size)
        self._operands = {"forward": _operands(forward), "training": _operands(training)}

    def run(self, quantity: Quantity) -> RunResult:
        """Compute one product after another."""
        for times, a, b, out in self._operands[quantity]:
            multiply = torch.mm if a.dim() == 2 else torch.bmm
            for _ in range(times):
                multiply(a, b, out=out)
        return RunResult()


def _operands(products: list[Product]) -> list[tuple[int, Tensor, Tensor, Tensor]]:
    """For each product its operands and its output. b is stored as a weight, (n, k)."""
    made = []
    for times, m, k, n, blocks in products:
        leading = () if blocks == 1 else (blocks,)
        a, b = torch.randn(*leading, m, k), torch.randn(*leading, n, k).mT
        made.append((times, a, b, torch.empty(*leading, m, n)))
    return made
