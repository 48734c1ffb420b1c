"""How much the weights of each gate change from step to step, for each text of a batch.

    change^y = sqrt(Σ_l ‖W_t^{l,y} − W_{t−1}^{l,y}‖_F²)           of gate y, over the layers l: analysis/scales.py

B texts, L layers, K hyper hidden.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hypernetworks.analysis import GeneratedScales, change_metric, scales_of, weight_change
from hypernetworks.recurrent.hyper import HyperRecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork


class Changes:
    """Computes the weight changes of a network's steps. A network with fixed weights has no changes and no `gates`."""

    def __init__(self, network: RecurrentNetwork) -> None:
        self.gates: tuple[str, ...] = ()
        self._cells = [cell for cell in network.cells if isinstance(cell, HyperRecurrentCell)]
        if self._cells:
            first = self._cells[0]
            self.gates = first.main.gate_names
            self._place = first.state_names.index("hyper_h")
            with torch.inference_mode():
                self._metrics = [change_metric(cell) for cell in self._cells]

    def __call__(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[list[float]] | list[None]:
        """The change of each gate for each text, from the states before and after a step, each (L, B, ·)."""
        if not self._cells:
            return [None] * before[0].shape[1]
        layers = []
        for cell, metric, old, new in zip(
            self._cells, self._metrics, before[self._place], after[self._place], strict=True
        ):
            # both in one call: with few texts a call costs more than its computation
            both = scales_of(cell, torch.stack((old, new)))
            layers.append(weight_change(cell, _part(both, 0), _part(both, 1), metric))
        return torch.linalg.vector_norm(torch.stack(layers), dim=0).T.tolist()


def _part(both: GeneratedScales, k: int) -> GeneratedScales:
    """The scales of one of the two steps."""
    return GeneratedScales(*(None if part is None else part[:, k] for part in both))  # type: ignore[arg-type]
