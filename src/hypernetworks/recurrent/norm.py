"""Layer normalisation of a cell state, or of all gates at once.

    LN(a) = (a − mean(a)) / sqrt(var(a) + ε) ⊙ gain + shift          over the last dimension of a

Ba, Kiros and Hinton, "Layer Normalization", arXiv 1607.06450.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_positive


class Norm(NamedTuple):
    """The numbers of a layer norm, ready for `layer_norm`: gain and shift broadcast against what is normalised."""

    gain: Tensor
    shift: Tensor
    eps: float


def layer_norm(a: Tensor, norm: Norm | None) -> Tensor:
    """LN(a) over the last dimension; `a` itself where a network has no norm (`norm=None`)."""
    if norm is None:
        return a
    return torch.addcmul(norm.shift, F.layer_norm(a, a.shape[-1:], eps=norm.eps), norm.gain)


class LayerNorm(nn.Module):
    """Holds gain (1 at the start) and shift (0) of a layer norm: of shape (H,), or (gates, H), a row for each gate."""

    def __init__(self, *shape: int, eps: float, device=None, dtype=None) -> None:
        super().__init__()
        check_positive("layer_norm_eps", eps)
        self.eps = eps
        self.gain = nn.Parameter(torch.ones(shape, device=device, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))

    def weights(self) -> Norm:
        """Gain and shift with a place for the batch before the last dimension."""
        return Norm(self.gain.unsqueeze(-2), self.shift.unsqueeze(-2), self.eps)

    def reset_parameters(self) -> None:
        """Gain 1, shift 0."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.shift)

    def extra_repr(self) -> str:
        """Shape and ε, for printing."""
        return f"{tuple(self.gain.shape)}, eps={self.eps}"
