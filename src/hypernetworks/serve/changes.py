"""How much the weights of each gate change from step to step, for each text of a batch.

    change^y = sqrt(Σ_l ‖W_t^{l,y} − W_{t−1}^{l,y}‖_F²)           of gate y, over the layers l: analysis/scales.py
             = sqrt(Σ_l ‖R^{l,y} (ĥ^l_t − ĥ^l_{t−1})‖²)

B texts, L layers, K hyper hidden.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hypernetworks.analysis import change_metric
from hypernetworks.recurrent.hyper import HyperRecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork


class Changes:
    """Computes the weight changes of a network's steps. A network with fixed weights has no changes and no `gates`."""

    def __init__(self, network: RecurrentNetwork) -> None:
        self.gates: tuple[str, ...] = ()
        cells = [cell for cell in network.cells if isinstance(cell, HyperRecurrentCell)]
        if cells:
            self.gates = cells[0].main.gate_names
            self._place = cells[0].state_names.index("hyper_h")
            with torch.inference_mode():
                self._maps = torch.stack([change_map(cell) for cell in cells])  # (L, gates, n, K)

    def __call__(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[list[float]] | list[None]:
        """For each text the change of each gate, from the states before and after a step, each (L, B, ·)."""
        if not self.gates:
            return [None] * before[0].shape[1]
        difference = after[self._place] - before[self._place]
        # R^{l,y} (ĥ_t − ĥ_{t−1}) of all gates: (L, gates·n, B)
        products = self._maps.flatten(1, 2) @ difference.mT
        layers, _, texts = products.shape
        changes = torch.linalg.vector_norm(products.view(layers, len(self.gates), -1, texts), dim=(0, 2))
        return changes.T.tolist()


def change_map(cell: HyperRecurrentCell) -> Tensor:
    """R of each gate, (gates, n, K), with ‖W_t^y − W_{t'}^y‖_F = ‖R^y (ĥ_t − ĥ_{t'})‖.

    The scales are linear in ĥ, so a change is the norm of M Δĥ, M (H, K), and M = Q R keeps it.
    """
    metric, P, D = change_metric(cell), cell.hyper.P, cell.hyper.D
    if not cell.scales_rows:
        return (metric @ P[0]).unsqueeze(0)
    gates = len(metric)
    # M^y = diag(row norms of W_h^y) D_h^y P_h^y
    return torch.linalg.qr(metric.unsqueeze(-1) * (D[:gates] @ P[:gates]), mode="r").R
