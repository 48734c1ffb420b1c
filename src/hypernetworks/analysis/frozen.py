"""A hyper network whose weights do not move: every scale has its mean over some text in place of its value at each step.

    d̄_a = D_a z̄_a,   z̄_a = P_a h̄ + p_a                           h̄ is the mean of ĥ_t, and d is linear in ĥ
    p_a ← z̄_a for a of h and x,   b ← b + D_b P_b h̄,   P ← 0

With P = 0 the hyper cell generates the same scales at every step, so the network is a plain one with other weights. The loss
that this costs is what a trained network owes to weights that move.

T time, B batch, I input, K hyper hidden.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from hypernetworks.recurrent.cell import RecurrentCell
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.recurrent.sequence import StepStates, TimeSteps

__all__ = ["freeze_scales", "mean_hyper_states"]


@torch.no_grad()
def mean_hyper_states(network: HyperRecurrentNetwork[Any], inputs: Iterable[Tensor]) -> list[Tensor]:
    """Compute h̄, the mean of ĥ_t over all steps and streams, of each cell of a network.

    Args:
        network: a HyperLSTM, HyperGRU, HyperRNN or HyperRHN in evaluation mode. It runs its own steps, on the reference path.
        inputs: pieces (T, B, I) of the same B streams, one after another, read from the zero state.

    Returns:
        h̄ (K,) in float64, in the order of network.cells.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5, hyper_size=4)
        >>> [mean] = mean_hyper_states(rnn, torch.randn(20, 2, 3).split(8))
        >>> mean.shape
        torch.Size([4])
    """
    sums: dict[RecurrentCell, Tensor] = {}
    count, state = 0, None

    def record(cell: RecurrentCell, x: Tensor, initial: Any, steps: TimeSteps) -> tuple[Tensor, Any]:
        history: list[StepStates] = []
        output, final = cell(x, initial, steps, history)
        hyper_h = torch.cat([after[-2] for _, after in history])  # a state ends with ĥ and ĉ
        sums[cell] = sums.get(cell, 0) + hyper_h.double().sum(0)
        return output, final

    for input in inputs:
        rows = network.rows(input)
        _, state = network.run(rows, state, record)
        count += len(rows.data)
    return [total / count for total in sums.values()]


@torch.no_grad()
def freeze_scales(network: HyperRecurrentNetwork[Any], hyper_h: Sequence[Tensor]) -> None:
    """Change a network so that it generates at every step the scales that it generated from one ĥ.

    Args:
        network: a HyperLSTM, HyperGRU, HyperRNN or HyperRHN. Its P, p and biases are changed in place.
        hyper_h: the ĥ (K,) of each cell, for example its mean: d is linear in ĥ, so the scales are then their means.

    Example:
        >>> rnn, x = hn.HyperLSTM(3, 5, hyper_size=4), torch.randn(20, 2, 3)
        >>> freeze_scales(rnn, mean_hyper_states(rnn, [x]))
        >>> float(hn.trace(rnn, x).layers[0].change.abs().max())
        0.0
    """
    for k, given in enumerate(hyper_h):
        cell = network.cell(k)
        P, p, D = cell.hyper.P, cell.hyper.p, cell.hyper.D
        scaled, shifts = len(p), cell.hyper.blocks.b
        z = P @ given.to(P)
        # p_a ← z̄_a
        p += z[:scaled]
        # b ← b + D_b P_b h̄
        cell.main.bias += (D[-shifts:] @ z[scaled:].unsqueeze(-1)).flatten().view_as(cell.main.bias)
        # P ← 0
        P.zero_()
