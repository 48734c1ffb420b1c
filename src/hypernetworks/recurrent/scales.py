"""How a hyper network acts on a plain one: it scales the rows of its matrices, and shifts its biases.

    d_h ⊙ (W_h h) + d_x ⊙ (W_x x) + d_b + b

is what the main network computes instead of W_h h + W_x x + b. Since d ⊙ (W v) = (diag(d) W) v, scaling the product
scales the rows of W, with H numbers instead of the H² of a generated matrix. HyperNetworks, arXiv 1609.09106, section 3.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Scales(NamedTuple):
    """The scales of one step, one block of (B, H) for each scaled row block of the main network."""

    h: Tensor
    """d_h, (blocks, B, H): scales W_h h."""
    x: Tensor
    """d_x, (blocks, B, H): scales W_x x."""
    b: Tensor
    """d_b + b, (blocks, B, H): the generated shift and the main network's own bias."""


def scaled_sum(wx: Tensor, wh: Tensor, scales: Scales | None) -> Tensor:
    """d_h ⊙ W_h h + d_x ⊙ W_x x + d_b + b from wx = W_x x and wh = W_h h; without scales wx already includes b."""
    if scales is None:
        return wx + wh
    return torch.addcmul(torch.addcmul(scales.b, scales.h, wh), scales.x, wx)
