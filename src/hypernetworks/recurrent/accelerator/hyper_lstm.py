"""The time loops of a HyperLSTM: an LSTM whose gates the hyper cell scales.

Forward, for every step:   product_forward, hyper_forward, scales_forward, cell_forward
Backward, for every step:  cell_backward, scales_backward, hyper_backward, product_backward

Ŵ_h is `hyper_weight_h`, cut from the operator's hyper_weight_x; Ŵ_ĥ, the operator's hyper_weight_h, is `hyper_weight_hh`.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from .hyper_cell import hyper_backward, hyper_forward
from .launch import blocks, power_of_two
from .loop import Room, Tensors, needed, sum_rows
from .lstm import NORM, LSTMLoop, norm_room
from .scales import scales_backward, scales_forward
from .shape import Step
from .sums import scale_gradients


class HyperLSTMLoop(LSTMLoop):
    """The loops of an LSTM with a hyper cell."""

    apart = 4
    states: ClassVar[tuple[str, ...]] = ("h", "c", "hyper_h", "hyper_c")

    def inputs(self) -> Room:
        """Those of the LSTM, its bias, which is added after the scaling, and those of the hyper cell."""
        s = self.shape
        B, H, K, Z, own = s.batch, s.hidden, s.hyper, s.embedding, s.dtype
        room = super().inputs() | {"bias": ((4 * H,), own)}
        room |= {"hyper_h0": ((B, K), own), "hyper_c0": ((B, K), torch.float32)}
        room |= {"hyper_weight_h": ((4 * K, H), own), "hyper_weight_hh": ((4 * K, K), own)}
        room |= {"P": ((12, Z, K), own), "p": ((8, Z), own), "D": ((12, H, Z), own)}
        return room | (norm_room("hyper_", K, own) if s.norm else {})

    def read(self, given: Mapping[str, Tensor | None]) -> Tensors:
        """The tensors of `inputs()`."""
        weight = needed(given, "hyper_weight_x")
        cut = {"hyper_weight_h": weight[:, self.shape.input :], "hyper_weight_hh": given["hyper_weight_h"]}
        return super().read({**given, **cut})

    def made(self) -> Room:
        """What the LSTM makes, and the hyper cell."""
        s, rows, full = self.shape, self.shape.kept_rows, torch.float32
        room = super().made() | {"hyper_h": ((s.batch, s.hyper), s.dtype), "hyper_c": ((s.batch, s.hyper), full)}
        room |= {"saved_hyper_c": ((rows, s.hyper), full), "saved_z": ((rows, 12 * s.embedding), full)}
        if s.save:
            room["saved_hyper_h"] = ((rows, s.hyper), s.dtype)
        if s.save and s.norm:
            room["saved_hyper_stats"] = ((rows, 10), full)
        return room

    def scratch(self) -> Room:
        """What the LSTM needs, and the hyper cell."""
        s = self.shape
        B, N, H, K, Z, own, full = s.batch, s.rows, s.hidden, s.hyper, s.embedding, s.dtype, torch.float32
        chunks = blocks(H, self.tiles.scale_columns)
        room = super().scratch() | {"wx": ((N, self.width), own), "grad_wx": ((N, self.width), own)}
        room["grad_pre"] = ((N, 4 * H), own)
        room |= {"grad_z": ((N, 12 * Z), own), "partial_z": ((chunks, B, 12 * Z), full)}
        room |= {"partial_hyper_h": ((4 * chunks, B, K), full), "recurrent": ((B, K), full)}
        room |= {"grad_hyper_h": ((B, K), full), "grad_hyper_c": ((B, K), full)}
        if s.norm:
            room |= {"grad_hyper_normed": ((N, 4 * K), own), "grad_hyper_cell_normed": ((N, K), own)}
        return room

    def begin_backward(self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None]) -> None:
        """The product on x again: it is as large as everything else that is saved, and fast."""
        self.project(given, t["wx"])

    def project(self, given: Mapping[str, Tensor | None], wx: Tensor) -> None:
        """[W_x x; Ŵ_x x + b̂] of all rows: the main b is added after the scaling."""
        hyper_bias = needed(given, "hyper_bias")
        bias = torch.nn.functional.pad(hyper_bias, (4 * self.shape.hidden, 0))
        super().project({"x": given["x"], "weight_x": self._weights_on_x(given), "bias": bias}, wx)

    def _weights_on_x(self, given: Mapping[str, Tensor | None]) -> Tensor:
        """[W_x; Ŵ_x], (4H + 4K, I)."""
        main, hyper = needed(given, "weight_x"), needed(given, "hyper_weight_x")
        return torch.cat((main, hyper[:, : self.shape.input]))

    def forward_step(self, t: Tensors, step: Step, row: int, before_row: int) -> None:
        """The products, the hyper cell, the scaled sums, the main cell."""
        self.product_forward(t, step, row)
        self._hyper_forward(t, step, row, before_row)
        self._scales_forward(t, step, row)
        self.cell_forward(t, step, row)

    def _hyper_forward(self, t: Tensors, step: Step, row: int, before_row: int) -> None:
        tensors = ("hyper_pre", "hyper_h", "hyper_c", "hyper_c0", "saved_hyper_h", "saved_hyper_c")
        self.launch(
            hyper_forward,
            (step.rows, 4),
            {
                **{name: t.get(name) for name in (*tensors, *(f"hyper_{name}" for name in NORM), "P", "p", "saved_z")},
                "hyper_stats": t.get("saved_hyper_stats"),
                "row": row,
                "before_row": before_row,
                "before_rows": step.before_rows,
                "eps": self.shape.eps,
                "K": self.shape.hyper,
                "Z": self.shape.embedding,
                "BLOCK_Q": self.tiles.hyper_block,
                "BLOCK_Z": self.tiles.embedding_block,
            },
            num_warps=self.tiles.hyper_warps,
        )

    def _scales_forward(self, t: Tensors, step: Step, row: int) -> None:
        self.launch(
            scales_forward,
            (blocks(step.rows, self.tiles.scale_rows), 4, blocks(self.shape.hidden, self.tiles.scale_columns)),
            {
                **{name: t[name] for name in ("saved_z", "D", "bias", "wx", "pre")},
                "wh": t["saved_wh"],
                "x_row": step.row,
                "row": row,
                "rows": step.rows,
                "H": self.shape.hidden,
                "Z": self.shape.embedding,
                "WX_STRIDE": self.width,
                **self.tiles.scale_blocks,
                "PRECISION": self.shape.short_precision,
            },
            num_warps=self.tiles.scale_warps,
        )

    def backward_step(self, t: Tensors, step: Step) -> None:
        """The main cell, the scaled sums, the hyper cell, the products."""
        self.cell_backward(t, step, t["grad_pre"])
        self._scales_backward(t, step)
        self._hyper_backward(t, step)
        self.product_backward(t, step)

    def _scales_backward(self, t: Tensors, step: Step) -> None:
        tensors = ("grad_pre", "wx", "saved_z", "D", "grad_wx", "grad_wh", "P", "partial_z", "partial_hyper_h")
        self.launch(
            scales_backward,
            (blocks(step.rows, self.tiles.scale_rows), 4, blocks(self.shape.hidden, self.tiles.scale_columns)),
            {
                **{name: t[name] for name in tensors},
                "wh": t["saved_wh"],
                "row": step.row,
                "rows": step.rows,
                "batch": self.shape.batch,
                "H": self.shape.hidden,
                "K": self.shape.hyper,
                "Z": self.shape.embedding,
                **self.tiles.scale_blocks,
                "BLOCK_Q": self.tiles.hyper_block,
                "PRECISION": self.shape.short_precision,
            },
            num_warps=self.tiles.scale_backward_warps,
        )

    def _hyper_backward(self, t: Tensors, step: Step) -> None:
        chunks = blocks(self.shape.hidden, self.tiles.scale_columns)
        tensors = ("partial_z", "partial_hyper_h", "recurrent", "grad_hyper_h", "grad_hyper_c", "hyper_pre")
        tensors += ("saved_hyper_c", "hyper_c0", "grad_z", "grad_wx", "grad_wh", *(f"hyper_{name}" for name in NORM))
        self.launch(
            hyper_backward,
            (step.rows,),
            {
                **{name: t.get(name) for name in tensors},
                "hyper_stats": t.get("saved_hyper_stats"),
                "grad_normed": t.get("grad_hyper_normed"),
                "grad_cell_normed": t.get("grad_hyper_cell_normed"),
                **self.place(step),
                "H": self.shape.hidden,
                "K": self.shape.hyper,
                "Z": self.shape.embedding,
                "CHUNKS": chunks,
                "BLOCK_E": power_of_two(12 * self.shape.embedding),
                "BLOCK_P": power_of_two(4 * chunks),
                "BLOCK_Q": self.tiles.hyper_block,
            },
            num_warps=self.tiles.hyper_warps,
        )

    def gradients(
        self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None], need_x: bool, need_weights: bool
    ) -> Tensors:
        """The gradients of all arguments."""
        x = needed(given, "x")
        H, K, Z, own = self.shape.hidden, self.shape.hyper, self.shape.embedding, x.dtype
        grad_wx, grad_wh = t["grad_wx"], t["grad_wh"]
        grads = {"h0": self.sum_parts(t).to(own), "c0": t["grad_c"].to(own, copy=True)}
        grads |= {"hyper_h0": t["recurrent"].to(own, copy=True), "hyper_c0": t["grad_hyper_c"].to(own, copy=True)}
        if need_x:
            grads["x"] = grad_wx @ self._weights_on_x(given)
        if not need_weights:
            return grads
        on_x, on_h = grad_wx.mT @ x, grad_wh.mT @ self.rows_before(t["output"], t["h0"])
        grads |= {"weight_x": on_x[: 4 * H], "weight_h": on_h[: 4 * H], "bias": sum_rows(t["grad_pre"])}
        grad_hyper_pre = grad_wh[:, 4 * H :]
        grads["hyper_weight_x"] = torch.cat((on_x[4 * H :], on_h[4 * H :]), 1)
        grads["hyper_weight_h"] = grad_hyper_pre.mT @ self.rows_before(t["saved_hyper_h"], t["hyper_h0"])
        grads["hyper_bias"] = sum_rows(grad_hyper_pre)
        grads["P"] = (t["grad_z"].mT @ t["saved_hyper_h"]).view(12, Z, K)
        grads["p"] = sum_rows(t["grad_z"][:, : 8 * Z]).view(8, Z)
        grads["D"] = self._scale_gradients(t).to(own)
        if self.shape.norm:
            views = self._views(t)
            grads |= self.lstm_norm_gradients("", views["pre"], t)
            grads |= self.lstm_norm_gradients("hyper_", views["hyper_pre"], t)
        return grads

    def _scale_gradients(self, t: Mapping[str, Tensor]) -> Tensor:
        s = self.shape
        splits, share = self.splits(16)
        partial = torch.empty((splits, 12, s.hidden, s.embedding), dtype=torch.float32, device=t["wx"].device)
        block = min(64, self.tiles.scale_columns)
        self._launch(
            scale_gradients,
            (4 * blocks(s.hidden, block), splits),
            {
                **{name: t[name] for name in ("grad_pre", "wx", "saved_z")},
                "wh": t["saved_wh"],
                "partial": partial,
                "rows": s.rows,
                "share": share,
                "H": s.hidden,
                "Z": s.embedding,
                "WX_STRIDE": self.width,
                "BLOCK_N": 32,
                "BLOCK_C": block,
                "BLOCK_Z": self.tiles.embedding_block,
                "PRECISION": s.precision,
            },
            num_warps=4,
        )
        return partial.sum(0)
