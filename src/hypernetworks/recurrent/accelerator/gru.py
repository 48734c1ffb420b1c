"""The time loops of a GRU, plain or layer-normalised.

Forward, for every step:   product_forward, gru_forward
Backward, for every step:  gru_backward, product_backward
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .gru_cell import gru_backward, gru_forward
from .loop import Loop, Room, Tensors, needed, sum_rows
from .shape import Step


class GRULoop(Loop):
    """The loops of a GRU. The candidate multiplies its product on h by r, so that this product stays apart."""

    gates: ClassVar[int] = 3
    apart: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)

    def inputs(self) -> Room:
        """Initial state, U, b_h, norm and dropout mask."""
        s = self.shape
        room: Room = {"h0": ((s.batch, s.hidden), s.dtype), "weight_h": ((3 * s.hidden, s.hidden), s.dtype)}
        if s.bias_h:
            room["bias_h"] = ((s.hidden,), s.dtype)
        if s.norm:
            room |= dict.fromkeys(("gain", "shift"), ((3, s.hidden), s.dtype))
        if s.masked:
            room["mask"] = ((s.rows, s.hidden), s.dtype)
        return room

    def made(self) -> Room:
        """What every cell makes, and the moments of the norm."""
        s = self.shape
        norm: Room = {"saved_stats": ((s.rows, 6), torch.float32)} if s.save and s.norm else {}
        return super().made() | norm

    def scratch(self) -> Room:
        """What every cell needs, the gradients of the products on x, and what the norm needs."""
        s = self.shape
        room = super().scratch() | {"grad_wx": ((s.rows, 3 * s.hidden), s.dtype)}
        return room | ({"grad_normed": ((s.rows, 3 * s.hidden), s.dtype)} if s.norm else {})

    def forward_step(self, t: Tensors, step: Step, row: int, before_row: int) -> None:
        """The product, then the cell."""
        self.product_forward(t, step, row)
        self.launch(
            gru_forward,
            (step.rows,),
            {
                **{name: t.get(name) for name in ("pre", "wx", "bias_h", "h", "mask", "gain", "shift", "output")},
                "wh": t["saved_wh"],
                "stats": t.get("saved_stats"),
                "x_row": step.row,
                "row": row,
                "eps": self.shape.eps,
                "H": self.shape.hidden,
                "BLOCK_H": self.tiles.row_block,
                "SAVE": self.shape.save,
            },
            num_warps=self.tiles.row_warps,
        )

    def backward_step(self, t: Tensors, step: Step) -> None:
        """The cell, then the product."""
        tensors = ("grad_output", "partial_h", "grad_h", "pre", "bias_h", "output", "h0", "mask", "gain", "shift")
        self.launch(
            gru_backward,
            (step.rows,),
            {
                **{name: t.get(name) for name in (*tensors, "grad_wx", "grad_wh", "grad_normed")},
                "wh": t["saved_wh"],
                "stats": t.get("saved_stats"),
                **self.place(step),
                "H": self.shape.hidden,
                "BLOCK_H": self.tiles.row_block,
            },
            num_warps=self.tiles.row_warps,
        )
        self.product_backward(t, step)

    def gradients(
        self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None], need_x: bool, need_weights: bool
    ) -> Tensors:
        """The gradients of all arguments."""
        x, weight_x = needed(given, "x"), needed(given, "weight_x")
        grad_wx, grad_wh = t["grad_wx"], t["grad_wh"]
        grads = {"h0": (self.sum_parts(t) + t["grad_h"]).to(x.dtype)}
        if need_x:
            grads["x"] = grad_wx @ weight_x
        if need_weights:
            grads["weight_x"] = grad_wx.mT @ x
            grads["weight_h"] = grad_wh.mT @ self.rows_before(t["output"], t["h0"])
            grads["bias"] = sum_rows(grad_wx)
            grads["bias_h"] = sum_rows(grad_wh[:, 2 * self.shape.hidden :])
            if self.shape.norm:
                gain, shift = self.norm_gradients(t["grad_normed"], self._views(t)["pre"], t["saved_stats"], 0, 3)
                grads |= {"gain": gain.view(3, -1), "shift": shift.view(3, -1)}
        return grads
