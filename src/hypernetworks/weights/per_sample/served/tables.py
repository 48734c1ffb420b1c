"""Rows of generated tables: embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hypernetworks.weights.forms import LowRank, RowScale
from hypernetworks.weights.per_sample.served.register import no_slot, serves
from hypernetworks.weights.per_sample.slots import NotServedError, Slot


@serves(F.embedding)
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Row x_n of W_n. Sparse gradients are for tables that are trained, not generated."""
    if max_norm is not None or scale_grad_by_freq:
        raise NotServedError("an embedding with max_norm or scale_grad_by_freq")
    assert isinstance(weight, Slot)
    if weight.transposed:
        raise NotServedError("an embedding in a transposed table")
    no_slot(input)
    input, rows = weight.calls.lookup(weight.parameter, input)
    form, size = weight.form, weight.shape[0]
    if padding_idx is not None and padding_idx < 0:
        padding_idx += size

    def own(table: Tensor) -> Tensor:
        """Row x_n of a table (B, size, columns) for each sample."""
        first = torch.arange(rows.samples, device=input.device) * size
        places = rows.combine(torch.add, input, first)
        found = F.embedding(places, table.flatten(0, 1))
        if padding_idx is None:
            return found
        # the row for padding has no gradient
        return torch.where((input == padding_idx).unsqueeze(-1), found.detach(), found)

    if isinstance(form, RowScale) and form.dim == 0:
        # d_n[x_n] W[x_n]
        return own(form.d.unsqueeze(-1)) * F.embedding(input, form.base, padding_idx)
    if isinstance(form, LowRank):
        # W[x_n] + s B_n[x_n] A_n
        low = own(form.B)
        # A_n gets no gradient from the row for padding either
        if padding_idx is not None:
            update = rows.join(torch.bmm(rows.split(low), form.scale * form.A), input.shape)
            keep = (input != padding_idx).unsqueeze(-1)
            update = torch.where(keep, update, update.detach())
        else:
            update = rows.join(torch.bmm(rows.split(low), form.scale * form.A), input.shape)
        return F.embedding(input, form.base, padding_idx) + update
    return own(form.materialize())
