"""Layer normalisation of a cell state, or of each gate.

    LN(a) = (a − mean(a)) / sqrt(var(a) + ε) ⊙ gain + shift          over the last dimension of a

Ba, Kiros and Hinton, "Layer Normalization", arXiv 1607.06450.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_positive
from .hooks import ParameterHolder


class Norm(NamedTuple):
    """The numbers of a layer norm, ready for `layer_norm`: gain and shift broadcast against what is normalised."""

    gain: Tensor
    shift: Tensor
    eps: float


def layer_norm(a: Tensor, norm: Norm | None) -> Tensor:
    """LN(a) over the last dimension; `a` itself for a network without norm (`norm=None`)."""
    if norm is None:
        return a
    return torch.addcmul(norm.shift, F.layer_norm(a, a.shape[-1:], eps=norm.eps), norm.gain)


class LayerNorm(ParameterHolder):
    """Holds the gain and the shift of a layer norm: of shape (H,), or (gates, H) with one row per gate.

    Initialisation: gain 1, and shift 0 or, for each gate, the number in `initial_shift`.
    """

    def __init__(
        self,
        *shape: int,
        eps: float,
        initial_shift: Sequence[float] | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_positive("layer_norm_eps", eps)
        self.eps = eps
        self.initial_shift = initial_shift
        self.gain: nn.Parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.shift: nn.Parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def weights(self) -> Norm:
        """Gain and shift with a dimension for the batch before the last one."""
        return Norm(self.gain.unsqueeze(-2), self.shift.unsqueeze(-2), self.eps)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise gain and shift."""
        self.gain.fill_(1.0)
        self.shift.zero_()
        for row, value in enumerate(self.initial_shift or ()):
            self.shift[row].fill_(value)

    def extra_repr(self) -> str:
        """Shape and ε, for printing."""
        return f"{tuple(self.gain.shape)}, eps={self.eps}"
