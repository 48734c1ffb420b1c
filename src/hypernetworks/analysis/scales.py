"""What a hyper cell makes of its state: the scales of one step, and how far the weights went since another step.

    z_a = P_a ĥ_t + p_a,   d_a = D_a z_a                              for a of h, x, b: recurrent/hyper.py
    W_t^y = diag(d_h^y) W_h^y                                         the matrix of gate y that acts at step t
    change^y = ‖W_t^y − W_{t'}^y‖_F = sqrt(Σ_j (d_h^y[j] − d'_h^y[j])² ‖W_h^y[j]‖²)

The scales of a step are a function of ĥ_t alone, and ĥ_t is a part of the network's state. So whoever has the states,
recorded or live, has the scales, and no step is computed a second time.

H hidden, K hyper hidden, Z embedding; "…" any leading dimensions, time and batch for instance.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hypernetworks.recurrent.checks import check_like
from hypernetworks.recurrent.hyper import HyperRecurrentCell, embeddings, generated_scales


class GeneratedScales(NamedTuple):
    """What a hyper cell made at one step or at many; blocks are gates, and for HyperRHN gates at each depth."""

    z: Tensor
    """All embeddings, (blocks of h, x and b together, …, Z)."""
    d_h: Tensor | None
    """(blocks of h, …, H): scales the rows of W_h. None where whole matrices are made of z."""
    d_x: Tensor | None
    """(blocks of x, …, H): scales the rows of W_x. None where whole matrices are made of z."""
    d_b: Tensor
    """(blocks of b, …, H): the shift that is added to b."""


def scales_of(cell: HyperRecurrentCell, hyper_h: Tensor) -> GeneratedScales:
    """The scales that a cell used in a step, from the hyper cell's ĥ after that step: z_a = P_a ĥ + p_a, d_a = D_a z_a.

    Args:
        cell: of HyperLSTM, HyperGRU, HyperRNN or HyperRHN; `network.cell(k)` for layer and direction k.
        hyper_h: ĥ after the step, (…, K): `state.hyper_h[k]` of a network's state.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2.
    Errors: TypeError for a cell without a hyper cell; ValueError for another width, dtype or device.
    """
    check_hyper_cell(cell)
    P = cell.hyper.P
    if hyper_h.dim() == 0 or hyper_h.shape[-1] != P.shape[-1]:
        raise ValueError(f"hyper_h should have shape (…, {P.shape[-1]}), got {tuple(hyper_h.shape)}")
    check_like("hyper_h", hyper_h, P)
    leading = hyper_h.shape[:-1]
    projections = cell.hyper.projections()
    z = embeddings(hyper_h.reshape(-1, P.shape[-1]), projections)

    def shaped(blocks: Tensor) -> Tensor:
        return blocks.unflatten(1, leading) if len(leading) else blocks.squeeze(1)

    if not cell.scales_rows:
        d_b = torch.bmm(z[-projections.blocks.b :], projections.D)
        return GeneratedScales(shaped(z), None, None, shaped(d_b))
    return GeneratedScales(shaped(z), *(shaped(d) for d in generated_scales(z, projections)))


def change_metric(cell: HyperRecurrentCell) -> Tensor:
    """What `weight_change` needs of the weights alone: the lengths of the rows of W_h, (gates, H).

    Where whole matrices are generated it is the R, (Z, Z), of a QR decomposition of W_hz, each of its Z matrices as one column.
    """
    check_hyper_cell(cell)
    H = cell.hidden_size
    if not cell.scales_rows:
        return torch.linalg.qr(cell.main.weight_h.reshape(-1, H * H).mT, mode="r").R
    return torch.linalg.vector_norm(cell.main.weight_h.reshape(-1, H, H), dim=-1)


def weight_change(
    cell: HyperRecurrentCell, before: GeneratedScales, after: GeneratedScales, metric: Tensor | None = None
) -> Tensor:
    """How much each gate's W_h changed between two steps: ‖diag(d_h) W_h − diag(d'_h) W_h‖_F, of shape (gates, …).

    Where whole matrices are generated it is ‖<W_hz, z_h> − <W_hz, z'_h>‖_F. No generated matrix is built: the rows' lengths
    suffice, or the R of a QR decomposition of the Z matrices, since W_h(z) is linear in z.

    Args:
        cell: the one that both scales are of.
        before, after: from `scales_of`, with the same leading dimensions.
        metric: `change_metric(cell)`, which may be computed once for many calls as long as the weights stay.

    Source: HyperNetworks, arXiv 1609.09106, figure 4, which colours text by "the norm of the changes" of the four W_h. It
    does not say which norm; Frobenius' is our choice.
    """
    metric = change_metric(cell) if metric is None else metric
    if before.d_h is None or after.d_h is None:
        # ‖Σ_k Δz[k] W_hz[k]‖_F = ‖R Δz‖
        return torch.linalg.vector_norm((after.z[:1] - before.z[:1]) @ metric.mT, dim=-1)
    # ‖diag(Δd_h) W_h‖_F = ‖Δd_h ⊙ lengths of the rows of W_h‖
    changes = after.d_h - before.d_h
    lengths = metric.view(-1, *[1] * (changes.dim() - 2), cell.hidden_size)
    return torch.linalg.vector_norm(changes * lengths, dim=-1)


def check_hyper_cell(cell: object) -> None:
    """The cell is one whose weights a hyper cell makes, else a TypeError."""
    if not isinstance(cell, HyperRecurrentCell):
        raise TypeError(f"cell should be that of a hyper network such as HyperLSTM, got {type(cell).__name__}")
