"""The distribution of the next point: a mixture of M bivariate normal distributions, and three states of the pen.

    p(Δx, Δy, q) = p_q · Σ_m π_m N(Δ; μ_m, σ_m, ρ_m)                         q: down, up, or end, which has no Δ

    ln N = −ln 2π − ln σx − ln σy − ½ ln(1 − ρ²) − (u² − 2ρuv + v²)/(2 (1 − ρ²))
    u = (Δx − μx)/σx,  v = (Δy − μy)/σy

The head of the model gives 6M + 3 numbers: π̂, μ, σ̂, ρ̂ and q̂.

    π = softmax(π̂),  ln σ = ln(exp(σ̂) + σ_min),  ρ = ρ_max tanh(ρ̂),  p_q = softmax(q̂)

The lower bound of σ and the bound of ρ keep the density finite where all points of the training set are on one line; sums of
exponentials are computed as log-sum-exp.

Source: Graves, "Generating Sequences With Recurrent Neural Networks", arXiv 1308.0850, section 4.1; the three states of the pen
and the temperature: Ha and Eck, arXiv 1704.03477, section 3.2.
"""

import math
from typing import Final, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["DOWN", "END", "UP", "Mixture"]

DOWN, UP, END = 0, 1, 2
"""The state of the pen after a point: it draws on, it is lifted, or the drawing has ended before this point."""

SMALLEST_DEVIATION: Final = 1e-3
"""σ_min, in units of the training set's deviation."""

LARGEST_CORRELATION: Final = 0.99
"""ρ_max."""


class Mixture(NamedTuple):
    """The distributions of some next points; "…" stands for any leading dimensions.

    Example:
        >>> from hypernetworks.strokes import Mixture
        >>> mixture = Mixture.of(torch.randn(5, 6 * 20 + 3))     # five points, M = 20
        >>> of_offsets, of_pen = mixture.nats(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))
        >>> of_offsets.shape
        torch.Size([5])
    """

    log_weights: Tensor
    """ln π, (…, M)."""
    means: Tensor
    """μ, (…, M, 2)."""
    log_deviations: Tensor
    """ln σ, (…, M, 2)."""
    correlations: Tensor
    """ρ, (…, M)."""
    log_pen: Tensor
    """ln p_q, (…, 3)."""

    @classmethod
    def of(cls, values: Tensor) -> Self:
        """From the output of the head, (…, 6M + 3)."""
        M = (values.shape[-1] - 3) // 6
        weights, means, deviations, correlations, pen = values.split([M, 2 * M, 2 * M, M, 3], dim=-1)
        smallest = deviations.new_tensor(math.log(SMALLEST_DEVIATION))
        return cls(
            F.log_softmax(weights, dim=-1),
            means.unflatten(-1, (M, 2)),
            torch.logaddexp(deviations, smallest).unflatten(-1, (M, 2)),
            LARGEST_CORRELATION * torch.tanh(correlations),
            F.log_softmax(pen, dim=-1),
        )

    def nats(self, offsets: Tensor, pen: Tensor) -> tuple[Tensor, Tensor]:
        """−ln p of points: that of the offsets (0 where the drawing has ended), and that of the pen, each (…).

        Args:
            offsets: Δ, (…, 2).
            pen: DOWN, UP or END, (…), int64.
        """
        # u, v: (…, M)
        u, v = ((offsets.unsqueeze(-2) - self.means) * torch.exp(-self.log_deviations)).unbind(-1)
        rest = 1 - self.correlations**2
        square = (u**2 - 2 * self.correlations * u * v + v**2) / (2 * rest)
        log_density = -math.log(2 * math.pi) - self.log_deviations.sum(-1) - torch.log(rest) / 2 - square
        of_offsets = -torch.logsumexp(self.log_weights + log_density, dim=-1)
        of_pen = -self.log_pen.gather(-1, pen.unsqueeze(-1)).squeeze(-1)
        return of_offsets.masked_fill(pen == END, 0.0), of_pen

    def draw(self, temperature: float, uniform: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Points of these distributions from given random numbers: offsets (…, 2) and the states of the pen (…).

            π ∝ π^(1/τ),  p_q ∝ p_q^(1/τ),  σ² ← τ σ²

        Args:
            temperature: τ, at least 0. With 0 the most probable component's mean and the most probable state are taken.
            uniform: two numbers in [0, 1), (…, 2): they choose the component and the state.
            normal: two standard normal numbers, (…, 2).
        """
        component = _choose(self.log_weights, temperature, uniform[..., 0])
        pen = _choose(self.log_pen, temperature, uniform[..., 1])

        def chosen(values: Tensor) -> Tensor:
            return values.gather(-2, component[..., None, None].expand(*component.shape, 1, 2)).squeeze(-2)

        ρ = self.correlations.gather(-1, component.unsqueeze(-1)).squeeze(-1)
        a, b = normal.unbind(-1)
        # covariance ρ: v = ρ a + √(1 − ρ²) b
        shape = torch.stack([a, ρ * a + torch.sqrt(1 - ρ**2) * b], dim=-1)
        return chosen(self.means) + math.sqrt(temperature) * torch.exp(chosen(self.log_deviations)) * shape, pen


def _choose(log_p: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """The index whose part of [0, 1) holds the uniform number, where p^(1/temperature) are the lengths of the parts."""
    if temperature == 0:
        return log_p.argmax(dim=-1)
    p = torch.softmax((log_p - log_p.amax(dim=-1, keepdim=True)).double() / temperature, dim=-1)
    edges = p.cumsum(-1)
    return (edges[..., :-1] <= uniform.double().unsqueeze(-1)).sum(-1)
