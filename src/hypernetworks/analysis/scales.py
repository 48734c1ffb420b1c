"""The scales that a hyper cell generates from its state, and how much the weights change between two steps.

    z_a = P_a ĥ_t + p_a,   d_a = D_a z_a                              for a of h, x, b: recurrent/hyper.py
    W_t^y = diag(d_h^y) W_h^y                                         the matrix of gate y that acts at step t
    norm^y = ‖W_t^y‖_F = sqrt(Σ_j d_h^y[j]² ‖W_h^y[j]‖²)
    change^y = ‖W_t^y − W_{t'}^y‖_F = sqrt(Σ_j (d_h^y[j] − d'_h^y[j])² ‖W_h^y[j]‖²)

The scales of a step depend on ĥ_t alone, which is part of the network's state. They can therefore be computed from recorded
or live states, without running a step again.

H hidden, K hyper hidden, Z embedding; "…" any leading dimensions, such as time and batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hypernetworks.recurrent.checks import check_like
from hypernetworks.recurrent.hyper import HyperRecurrentCell, embeddings, generated_scales


class GeneratedScales(NamedTuple):
    """What a hyper cell generated at one or more steps. A block is a gate; for HyperRHN, a gate at one depth."""

    z: Tensor
    """The embeddings of all blocks, those of h, x and b concatenated: (blocks, …, Z)."""
    d_h: Tensor | None
    """(blocks of h, …, H): scales the rows of W_h. None if whole matrices are generated from z."""
    d_x: Tensor | None
    """(blocks of x, …, H): scales the rows of W_x. None if whole matrices are generated from z."""
    d_b: Tensor
    """(blocks of b, …, H): the shift added to b."""


def scales_of(cell: HyperRecurrentCell, hyper_h: Tensor) -> GeneratedScales:
    """Compute the scales of a step from the hyper cell's ĥ after that step: z_a = P_a ĥ + p_a, d_a = D_a z_a.

    Args:
        cell: a cell of HyperLSTM, HyperGRU, HyperRNN or HyperRHN. `network.cell(k)` is that of layer and direction k.
        hyper_h: ĥ after the step, (…, K): `state.hyper_h[k]` of a network's state.

    Raises:
        TypeError: `cell` has no hyper cell.
        ValueError: `hyper_h` has the wrong size, dtype or device.

    Source: HyperNetworks, arXiv 1609.09106, section 3.2.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> output, state = rnn(torch.randn(7, 2, 3))
        >>> scales_of(rnn.cell(0), state.hyper_h[0]).d_h.shape          # gates, batch, hidden
        torch.Size([4, 2, 5])
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
    """Compute what `weight_change` and `weight_norm` need of the weights: the norms of the rows of W_h, (gates, H).

    If whole matrices are generated, this is the R, (Z, Z), of a QR decomposition of W_hz with its Z matrices as columns.

    Args:
        cell: a cell of HyperLSTM, HyperGRU, HyperRNN or HyperRHN.

    Raises:
        TypeError: `cell` has no hyper cell.

    Example:
        >>> change_metric(hn.HyperLSTM(3, 5).cell(0)).shape
        torch.Size([4, 5])
    """
    check_hyper_cell(cell)
    H = cell.hidden_size
    if not cell.scales_rows:
        return torch.linalg.qr(cell.main.weight_h.reshape(-1, H * H).mT, mode="r").R
    return torch.linalg.vector_norm(cell.main.weight_h.reshape(-1, H, H), dim=-1)


def weight_change(
    cell: HyperRecurrentCell, before: GeneratedScales, after: GeneratedScales, metric: Tensor | None = None
) -> Tensor:
    """Compute how much each gate's W_h changed between two steps: ‖diag(d_h) W_h − diag(d'_h) W_h‖_F, (gates, …).

    If whole matrices are generated, this is ‖<W_hz, z_h> − <W_hz, z'_h>‖_F. No generated matrix is built: the norms of the
    rows are enough, or the R of a QR decomposition of the Z matrices, because W_h(z) is linear in z.

    Args:
        cell: the cell that generated both scales.
        before, after: from `scales_of`, with equal leading dimensions.
        metric: `change_metric(cell)`. Pass it to compute it once for many calls while the weights do not change.

    Raises:
        TypeError: `cell` has no hyper cell.

    Source: HyperNetworks, arXiv 1609.09106, figure 4, which colours text by "the norm of the changes" of the four W_h. The
    paper does not say which norm; the Frobenius norm is our choice.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> _, before = rnn(torch.randn(7, 3))
        >>> _, after = rnn(torch.randn(1, 3), before)
        >>> cell = rnn.cell(0)
        >>> weight_change(cell, scales_of(cell, before.hyper_h[0]), scales_of(cell, after.hyper_h[0])).shape
        torch.Size([4])
    """
    metric = change_metric(cell) if metric is None else metric
    if before.d_h is None or after.d_h is None:
        return _norm(after.z[:1] - before.z[:1], metric, cell)
    return _norm(after.d_h - before.d_h, metric, cell)


def weight_norm(cell: HyperRecurrentCell, scales: GeneratedScales, metric: Tensor | None = None) -> Tensor:
    """Compute the norm of each gate's W_h at a step, ‖diag(d_h) W_h‖_F or ‖<W_hz, z_h>‖_F: (gates, …).

    `weight_change` over the larger of the norms before and after a step is the relative change.

    Args:
        cell: the cell that generated the scales.
        scales: from `scales_of`.
        metric: as in `weight_change`.

    Raises:
        TypeError: `cell` has no hyper cell.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> _, state = rnn(torch.randn(7, 3))
        >>> weight_norm(rnn.cell(0), scales_of(rnn.cell(0), state.hyper_h[0])).shape
        torch.Size([4])
    """
    metric = change_metric(cell) if metric is None else metric
    return _norm(scales.z[:1] if scales.d_h is None else scales.d_h, metric, cell)


def _norm(generated: Tensor, metric: Tensor, cell: HyperRecurrentCell) -> Tensor:
    """The norm of the matrices that row scales (gates, …, H) or an embedding (1, …, Z) generate."""
    if not cell.scales_rows:
        # ‖Σ_k z[k] W_hz[k]‖_F = ‖R z‖
        return torch.linalg.vector_norm(generated @ metric.mT, dim=-1)
    # ‖diag(d_h) W_h‖_F = ‖d_h ⊙ row norms of W_h‖
    row_norms = metric.view(-1, *[1] * (generated.dim() - 2), cell.hidden_size)
    return torch.linalg.vector_norm(generated * row_norms, dim=-1)


def check_hyper_cell(cell: object) -> None:
    """Check that a hyper cell generates the weights of this cell.

    Raises:
        TypeError: it has no hyper cell.
    """
    if not isinstance(cell, HyperRecurrentCell):
        raise TypeError(f"cell should be the cell of a hyper network such as HyperLSTM, got {type(cell).__name__}")
