"""The time loops of an LSTM, plain or layer-normalised.

Forward, for every step:   product_forward, cell_forward
Backward, for every step:  cell_backward, product_backward
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .loop import Loop, Room, Tensors, needed, sum_rows
from .lstm_cell import cell_backward, cell_forward
from .shape import Step

NORM = ("gain", "shift", "cell_gain", "cell_shift")


class LSTMLoop(Loop):
    """The loops of an LSTM without a hyper cell."""

    gates: ClassVar[int] = 4
    apart: ClassVar[int] = 0
    states: ClassVar[tuple[str, ...]] = ("h", "c")

    def inputs(self) -> Room:
        """Initial state, W_h, norm and dropout mask."""
        s = self.shape
        room: Room = {"h0": ((s.batch, s.hidden), s.dtype), "c0": ((s.batch, s.hidden), torch.float32)}
        room["weight_h"] = ((4 * s.hidden, s.hidden), s.dtype)
        if s.norm:
            room |= norm_room("", s.hidden, s.dtype)
        if s.masked:
            room["mask"] = ((s.rows, s.hidden), s.dtype)
        return room

    def made(self) -> Room:
        """What every cell makes, and c."""
        s = self.shape
        room = super().made() | {"c": ((s.batch, s.hidden), torch.float32)}
        if s.save:
            room["saved_c"] = ((s.rows, s.hidden), torch.float32)
        if s.save and s.norm:
            room["saved_stats"] = ((s.rows, 10), torch.float32)
        return room

    def scratch(self) -> Room:
        """What every cell needs, and what the norms need."""
        s = self.shape
        room = super().scratch() | {"grad_c": ((s.batch, s.hidden), torch.float32)}
        if s.norm:
            room["grad_normed"] = ((s.rows, 4 * s.hidden), s.dtype)
            room["grad_cell_normed"] = ((s.rows, s.hidden), s.dtype)
        return room

    def forward_step(self, t: Tensors, step: Step, row: int, before_row: int) -> None:
        """The product, then the cell."""
        self.product_forward(t, step, row)
        self.cell_forward(t, step, row)

    def cell_forward(self, t: Tensors, step: Step, row: int) -> None:
        """h_t and c_t from the pre-activations."""
        self.launch(
            cell_forward,
            (step.rows,),
            {
                **{name: t.get(name) for name in ("pre", "h", "c", "mask", *NORM, "output", "saved_c")},
                "stats": t.get("saved_stats"),
                "x_row": step.row,
                "row": row,
                "eps": self.shape.eps,
                "H": self.shape.hidden,
                "BLOCK_H": self.tiles.row_block,
            },
            num_warps=self.tiles.row_warps,
        )

    def backward_step(self, t: Tensors, step: Step) -> None:
        """The cell, then the product."""
        self.cell_backward(t, step, t["grad_wh"])
        self.product_backward(t, step)

    def cell_backward(self, t: Tensors, step: Step, grad_pre: Tensor) -> None:
        """The gradients of the pre-activations, to the first columns of grad_pre."""
        tensors = ("grad_output", "partial_h", "grad_h", "grad_c", "pre", "saved_c", "c0", "mask", *NORM)
        self.launch(
            cell_backward,
            (step.rows,),
            {
                **{name: t.get(name) for name in (*tensors, "grad_normed", "grad_cell_normed")},
                "stats": t.get("saved_stats"),
                "grad_pre": grad_pre,
                **self.place(step),
                "H": self.shape.hidden,
                "STRIDE": 4 * self.shape.hidden,
                "PARTS": t["partial_h"].shape[0],
                "BLOCK_H": self.tiles.row_block,
            },
            num_warps=self.tiles.row_warps,
        )

    def gradients(
        self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None], need_x: bool, need_weights: bool
    ) -> Tensors:
        """The gradients of all arguments."""
        x, weight_x = needed(given, "x"), needed(given, "weight_x")
        grad = t["grad_wh"]
        grads = {"h0": self.sum_parts(t).to(x.dtype), "c0": t["grad_c"].to(x.dtype, copy=True)}
        if need_x:
            grads["x"] = grad @ weight_x
        if need_weights:
            grads["weight_x"] = grad.mT @ x
            grads["weight_h"] = grad.mT @ self.rows_before(t["output"], t["h0"])
            grads["bias"] = sum_rows(grad)
            if self.shape.norm:
                grads |= self.lstm_norm_gradients("", self._views(t)["pre"], t)
        return grads

    def lstm_norm_gradients(self, prefix: str, pre: Tensor, t: Mapping[str, Tensor]) -> Tensors:
        """Those of gain and shift of the gates' norm and of the cell's norm, of the main cell or the hyper cell."""
        stats, cell = t[f"saved_{prefix}stats"], t[f"saved_{prefix}c"]
        gain, shift = self.norm_gradients(t[f"grad_{prefix}normed"], pre, stats, 0, 4)
        cell_gain, cell_shift = self.norm_gradients(t[f"grad_{prefix}cell_normed"], cell, stats, 8, 1)
        named = {"gain": gain.view(4, -1), "shift": shift.view(4, -1), "cell_gain": cell_gain, "cell_shift": cell_shift}
        return {f"{prefix}{name}": tensor for name, tensor in named.items()}


def norm_room(prefix: str, size: int, dtype: torch.dtype) -> Room:
    """Gains and shifts of an LSTM."""
    gates: Room = {f"{prefix}{name}": ((4, size), dtype) for name in NORM[:2]}
    return gates | {f"{prefix}{name}": ((size,), dtype) for name in NORM[2:]}
