"""The initialisation of HyperNetworks (arXiv 1609.09106, appendix A.2.3), one function per rule.

Every function fills its tensor in place, without gradient, and works on any device and floating dtype.
"""

import torch
from torch import Tensor, nn


@torch.no_grad()
def orthogonal_blocks_(weight: Tensor, blocks: int, gain: float = 1.0) -> None:
    """Fill each of the `blocks` equal row blocks of `weight` (blocks·H, n) with an orthogonal matrix times `gain`.

    The gates share one stacked tensor, but the matrix of each gate is orthogonal by itself. The decomposition is computed in
    float32 or wider, so half precision works too.
    """
    for block in weight.chunk(blocks):
        exact = torch.empty_like(block, dtype=torch.promote_types(block.dtype, torch.float32))
        block.copy_(nn.init.orthogonal_(exact, gain))


FORGET_GATE = (0.0, 1.0, 0.0, 0.0)
"""The initial shift or bias of the gates i, f, g, o: 1 for the forget gate."""


@torch.no_grad()
def forget_gate_(bias: Tensor) -> None:
    """Fill a bias of the gates i, f, g, o, (4·H,), with 0, and with 1 for the forget gate f."""
    for gate, value in zip(bias.chunk(4), FORGET_GATE, strict=True):
        gate.fill_(value)


@torch.no_grad()
def embedding_(P: Tensor, p: Tensor, scheme: str) -> None:
    """Fill the projections z = P ĥ + p: p = 1, and P ~ N(0, 0.01²) so that the Z numbers of z can grow apart.

    P: (blocks, Z, K) for blocks h, x and b in this order; p: (blocks of h and x, Z).
    With scheme "paper", P of h and x is 0 as printed in the paper (appendix A.2.3). The Z numbers of each z then start equal
    and get equal gradients, so they stay equal and D keeps rank 1: Z acts as 1.
    """
    P.normal_(std=0.01)
    if scheme == "paper":
        P[: p.shape[0]].zero_()
    p.fill_(1.0)


@torch.no_grad()
def scale_(D: Tensor, blocks_b: int) -> None:
    """Fill the maps d = D z, (blocks, H, Z): 0.1/Z for h and x, so that every scale starts near 0.1; 0 for b."""
    D.fill_(0.1 / D.shape[-1])
    D[D.shape[0] - blocks_b :].zero_()
