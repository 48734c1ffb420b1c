"""The time loop as one operator of torch, for exported programs whose number of steps is open.

    s_T, (h_1 … h_T) = scan(step, s_0, (x_1 … x_T))               step: (s_{t-1}, x_t) -> (s_t, h_t)

torch.export writes a Python loop as one copy of its body for each step, which fixes their number. The scan is a loop in the
program, and becomes the operator Scan of ONNX.

T time, B batch, N = T·B rows, H hidden, G gates.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import torch_compat

if TYPE_CHECKING:
    from .cell import RecurrentCell
    from .sequence import TimeSteps


def is_open(steps: "TimeSteps") -> bool:
    """Whether torch.export traces a plain batch whose number of steps is open."""
    return steps.sizes is None and isinstance(steps.time, torch.SymInt) and torch_compat.is_exporting()


def scan_steps(
    cell: "RecurrentCell", x: Tensor, steps: "TimeSteps", state: Sequence[Tensor]
) -> tuple[Tensor, Sequence[Tensor]]:
    """Run a cell over all time steps, without dropout: x (N, I), state each (B, ·) -> outputs (N, H), final state."""
    if torch.onnx.is_in_onnx_export() and torch.is_grad_enabled():
        with torch.no_grad():  # with gradients, torch gives the scan results that ONNX does not have
            return scan_steps(cell, x, steps, state)
    weights = cell.weights()
    leaves, form = torch_compat.tree_flatten(weights)
    # a scan does not accept tensors that share memory, and some weights are views of one parameter
    tensors = [leaf.clone() for leaf in leaves if isinstance(leaf, Tensor)]
    # (G, N, ·) -> (T, G, B, ·)
    products = [
        part.unflatten(1, (steps.time, steps.batch)).transpose(0, 1).contiguous() for part in cell.project(x, weights)
    ]
    if steps.reverse:
        products = [part.flip(0) for part in products]

    def step(*given: Tensor) -> list[Tensor]:
        before, rest = given[: len(state)], given[len(state) :]
        inputs, constants = rest[: len(products)], iter(rest[len(products) :])
        own = [next(constants) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        new = cell.advance(inputs, before, torch_compat.tree_unflatten(own, form), None)
        return [tensor.clone() for tensor in (*new, new[0])]

    *final, outputs = torch_compat.scan(step, [tensor.clone() for tensor in state], products, tensors)
    if steps.reverse:
        outputs = outputs.flip(0)
    # cat gives the rows strides of their own: those of a view would leave torch.export unsure of the batch
    return torch.cat([outputs.reshape(x.shape[0], -1)]), final
