"""How much a step changed the weights of each gate, relative to the weights themselves.

    change^y = ‖W_t^y − W_{t−1}^y‖ / max(‖W_t^y‖, ‖W_{t−1}^y‖)                of gate y
    ‖W^y‖ = sqrt(Σ_l ‖W^{l,y}‖_F²)                                             over the layers l

It is 0 where nothing changed, 1 where weights appeared from or fell to nothing, and at most 2, where all signs turned. Relative
to W_t alone, it would be hundreds where a trained network sets the weights of a gate to almost nothing for a step.

The pages, the report and the strips colour a character by the change of the step that generated it. Norms alone would not do:
they depend on the size of a gate's weights, so one gate hides another, and two networks cannot be compared.

The scales are affine in ĥ, and with M = Q R a norm needs R alone, so no matrix of the size of W_h is built:

    ‖W_t^y − W_{t−1}^y‖_F = ‖R^y (ĥ_t − ĥ_{t−1})‖,   ‖W_t^y‖_F = ‖R^y ĥ_t + r^y‖

L layers, K hyper hidden; "…" any dimensions, such as time and batch.
"""

from typing import Any

import torch
from torch import Tensor

from hypernetworks.analysis.scales import change_metric
from hypernetworks.recurrent.hyper import HyperRecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork

__all__ = ["RelativeChange", "relative"]


class RelativeChange:
    """Computes how much the steps of a network change W_h of each gate, relative to W_h.

    Args:
        network: any recurrent network. One with fixed weights has no `gates`, and its changes have no rows. The weights are
            read once, so they should not change afterwards.

    Source: HyperNetworks, arXiv 1609.09106, figure 4, which shows "the norm of the changes" below each generated character. The
    paper does not say which norm, and shows no scale; that it is relative is our choice.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> _, before = rnn(torch.randn(7, 3))
        >>> _, after = rnn(torch.randn(1, 3), before)
        >>> RelativeChange(rnn)(before.hyper_h, after.hyper_h).shape
        torch.Size([4])
    """

    def __init__(self, network: RecurrentNetwork[Any]) -> None:
        self.gates: tuple[str, ...] = ()
        """The names of the gates; empty if the network's weights are fixed."""
        cells = [cell for cell in network.cells if isinstance(cell, HyperRecurrentCell)]
        if cells:
            self.gates = cells[0].main.gate_names
            with torch.no_grad():
                # R and r of all layers and gates: (L, gates, n, K + 1)
                self._maps = torch.stack([norm_map(cell) for cell in cells])

    @torch.no_grad()
    def __call__(self, before: Tensor, after: Tensor) -> Tensor:
        """The change of each gate, (gates, …), from ĥ before and after the step, each (L, …, K)."""
        if not self.gates:
            return before.new_zeros(0, *before.shape[1:-1])
        R, r = self._maps[..., :-1], self._maps[..., -1]
        # R ĥ_{t−1} and R ĥ_t
        old, new = (torch.einsum("lgnk,l...k->lg...n", R, hyper_h) for hyper_h in (before, after))
        r = r.view(*r.shape[:2], *[1] * (new.dim() - 3), r.shape[2])
        # ‖R (ĥ_t − ĥ_{t−1})‖, ‖R ĥ_{t−1} + r‖, ‖R ĥ_t + r‖
        return relative(*(torch.linalg.vector_norm(part, dim=(0, -1)) for part in (new - old, old + r, new + r)))


def relative(change: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The norm of a change relative to the larger of the norms before and after it; 0 where all are 0."""
    largest = torch.maximum(before, after)
    return change / largest.clamp(min=torch.finfo(largest.dtype).tiny)


def norm_map(cell: HyperRecurrentCell) -> Tensor:
    """[R | r] of each gate, (gates, n, K + 1), with ‖W^y‖_F = ‖R^y ĥ + r^y‖."""
    metric, P, p, D = change_metric(cell), cell.hyper.P, cell.hyper.p, cell.hyper.D
    # z = P ĥ + p
    z = torch.cat([P[: len(p)], p.unsqueeze(-1)], dim=-1)
    if not cell.scales_rows:
        return (metric @ z[0]).unsqueeze(0)
    gates = len(metric)
    # M^y = diag(row norms of W_h^y) D_h^y [P_h^y | p_h^y]
    return torch.linalg.qr(metric.unsqueeze(-1) * (D[:gates] @ z[:gates]), mode="r").R
