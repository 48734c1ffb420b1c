"""The masks with which a character model is trained: dropout of what its layers and its head read, and of recurrent weights.

    step:      x_t ⊙ m_t,  m_t drawn at every time step                                    (Srivastava et al. 2014)
    sequence:  x_t ⊙ m,    m drawn once for all time steps of a stream                     (Gal and Ghahramani 2016)
    state:     W_h (m ⊙ h_{t-1}) = (W_h diag m) h_{t-1}                                    (Gal and Ghahramani 2016)
    weight:    (M ⊙ W_h) h_{t-1},  M drawn once for all time steps and streams             (Merity et al. 2018)

All masks hold 0 with probability p, else 1/(1 − p). The last two are masks of weights. The network then runs with masked
weights in place of its own, on any path: a kernel that has no dropout of its own needs no change.

    zoneout: s_t = m_t ⊙ s_{t-1} + (1 − m_t) ⊙ s̃_t,   m_t 1 with probability p, else 0    (Krueger et al. 2017)

s̃_t is the state that the step computes. Outside training m_t is its mean p. No kernel has this, so the network runs step by
step.

T time, B batch, I input, H hidden, K hyper hidden.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.recurrent.cell import RecurrentCell
from hypernetworks.recurrent.layer import RecurrentNetwork

__all__ = ["MaskPer", "dropped", "masked_weights", "zone_out"]

MaskPer = Literal["step", "sequence"]
"""How often a dropout mask is drawn: at each time step, or once for all time steps of a sequence."""


def dropped(values: Tensor, probability: float, per: MaskPer) -> Tensor:
    """Values (T, B, ·) with some of them set to 0 and the others divided by 1 − probability.

    Sources: Srivastava et al., "Dropout", JMLR 15 (2014), per step; Gal and Ghahramani, "A Theoretically Grounded Application
    of Dropout in Recurrent Neural Networks", arXiv 1512.05287, per sequence.
    """
    if per == "step" or probability == 0:
        return F.dropout(values, probability)
    return values * _mask(values[:1], probability)


def masked_weights(network: RecurrentNetwork[Any], state_dropout: float, weight_dropout: float) -> dict[str, Tensor]:
    """The recurrent weights of a network under new masks, by their names in it. Gradients flow to the weights.

    Args:
        network: a network of the registry.
        state_dropout: the probability with which a unit of h is dropped from all products on h of one layer: those of the main
            cell, and of the hyper cell, if there is one. All streams of a batch share the mask, since they share the weights.
        weight_dropout: the probability with which a single weight of a matrix on h (of the hyper cell: on ĥ) is dropped.

    Sources: Gal and Ghahramani, arXiv 1512.05287; DropConnect of recurrent weights: Merity, Keskar and Socher, "Regularizing
    and Optimizing LSTM Language Models", arXiv 1708.02182, section 3.
    """
    made: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}  # of h, by the name of the cell
    for name, weight in network.named_parameters():
        of_hyper_cell = ".hyper." in name
        if weight_dropout and name.endswith(".weight_h"):
            made[name] = weight * _mask(weight, weight_dropout)
        on_h = name.endswith(".hyper.lstm.weight_x") if of_hyper_cell else name.endswith(".weight_h")
        if state_dropout and on_h:
            cell = ".".join(name.split(".")[:2])
            columns = weight[..., -network.hidden_size :]
            if cell not in masks:
                masks[cell] = _mask(columns.new_empty(network.hidden_size), state_dropout)
            # the hyper cell's W_x is multiplied with [x_t; h_{t-1}]
            mask = F.pad(masks[cell], (weight.shape[-1] - network.hidden_size, 0), value=1.0)
            made[name] = made.get(name, weight) * mask
    return made


def zone_out(network: RecurrentNetwork[Any], probability: float) -> None:
    """Let each value of the network's state keep its previous value with this probability, at every time step.

    Source: Krueger et al., "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations", arXiv 1606.01305.
    """
    for k in range(len(network.cells)):
        cell = network.cell(k)
        cell.advance = partial(_advance_with_zoneout, cell, probability)  # type: ignore[method-assign]


def _advance_with_zoneout(
    cell: RecurrentCell,
    probability: float,
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    weights: Any,
    mask: Tensor | None,
) -> tuple[Tensor, ...]:
    new = type(cell).advance(cell, inputs, state, weights, mask)
    if not cell.training:
        return tuple(torch.lerp(b, a, probability) for a, b in zip(state, new, strict=True))
    kept = (torch.rand_like(tensor) < probability for tensor in new)
    # s_t = m_t ⊙ s_{t-1} + (1 − m_t) ⊙ s̃_t
    return tuple(torch.where(m, a, b) for m, a, b in zip(kept, state, new, strict=True))


def _mask(like: Tensor, probability: float) -> Tensor:
    """0 with this probability, else 1/(1 − probability), in the shape of `like`."""
    return torch.bernoulli(torch.full_like(like, 1 - probability)) / (1 - probability)
