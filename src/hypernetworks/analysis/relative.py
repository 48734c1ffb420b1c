"""How much a step changed the weights of each gate, relative to the weights themselves.

    change^y = sqrt(Σ_l ‖W_t^{l,y} − W_{t−1}^{l,y}‖_F²) / sqrt(Σ_l ‖W_t^{l,y}‖_F²)      of gate y, over the layers l

The pages, the report and the strips colour a character by the change of the step that generated it. Norms alone would not do:
they depend on the size of a gate's weights, so one gate hides another, and two networks cannot be compared.

The scales are affine in ĥ, and with M = Q R a norm needs R alone, so no matrix of the size of W_h is built:

    ‖W_t^y − W_{t−1}^y‖_F = ‖R^y (ĥ_t − ĥ_{t−1})‖,   ‖W_t^y‖_F = ‖R^y ĥ_t + r^y‖

L layers, K hyper hidden; "…" any dimensions, such as time and batch.
"""

import torch
from torch import Tensor

from hypernetworks.analysis.scales import change_metric
from hypernetworks.recurrent.hyper import HyperRecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork

__all__ = ["RelativeChange"]


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

    def __init__(self, network: RecurrentNetwork) -> None:
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
        # ‖R (ĥ_t − ĥ_{t−1})‖ / ‖R ĥ_t + r‖
        change = torch.einsum("lgnk,l...k->lg...n", R, after - before)
        weights = torch.einsum("lgnk,l...k->lg...n", R, after)
        weights = weights + r.view(*r.shape[:2], *[1] * (weights.dim() - 3), r.shape[2])
        size = torch.linalg.vector_norm(weights, dim=(0, -1))
        return torch.linalg.vector_norm(change, dim=(0, -1)) / size.clamp(min=torch.finfo(size.dtype).tiny)


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
