"""The gates of a hyper network at steps whose states are known, without running these steps again.

    y_t = gate y of the main network, from diag(d_x) W_x x_t, diag(d_h) W_h h_{t-1} and d_b + b           recurrent/hyper.py

G gates, N steps, I input, H hidden, Z embedding.
"""

import torch
from torch import Tensor

from hypernetworks.recurrent.hyper import HyperRecurrentCell, HyperWeights, products_on_h

__all__ = ["gates_at"]


@torch.no_grad()
def gates_at(cell: HyperRecurrentCell, x: Tensor, h: Tensor, z: Tensor, weights: HyperWeights | None = None) -> Tensor:
    """Compute the gates and candidates of steps after σ and tanh, (G, N, H), by the function that the step itself calls.

    Args:
        cell: a cell of HyperLSTM, HyperGRU, HyperRNN or HyperRHN.
        x: what each step reads, (N, I).
        h: h before each step, (N, H).
        z: the embeddings of each step, (blocks, N, Z), from `scales_of`.
        weights: `cell.weights()`. Pass it to gather the weights once for many calls while they do not change.

    Example:
        >>> from hypernetworks.analysis import scales_of
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> x, (_, before) = torch.randn(2, 3), rnn(torch.randn(7, 2, 3))
        >>> _, after = rnn(x.unsqueeze(0), before)
        >>> z = scales_of(rnn.cell(0), after.hyper_h[0]).z
        >>> gates_at(rnn.cell(0), x, before.h[0], z).shape          # i, f, g and o
        torch.Size([4, 2, 5])
    """
    weights = cell.weights() if weights is None else weights
    gates = cell.gates(cell.project(x, weights)[0], products_on_h(h, weights)[0], h, z, weights)
    return torch.stack(tuple(gates))
