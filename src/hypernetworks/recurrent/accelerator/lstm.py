"""A layer of LSTM or HyperLSTM on an accelerator: which kernels run, in which order, on which tensors.

Forward, for every step:   product_forward, hyper_forward and scales_forward (with a hyper cell), cell_forward
Backward, for every step:  cell_backward, scales_backward and hyper_backward (with a hyper cell), product_backward

The product on x of all steps comes before the loop. All gradients of parameters come after it. The loop allocates nothing and
keeps all addresses, so that it can be captured in a graph.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .cells import cell_backward, cell_forward
from .launch import Launch, blocks, power_of_two
from .products import product_backward, product_forward
from .scales import hyper_backward, hyper_forward, scales_backward, scales_forward
from .shape import LayerShape, Step
from .sums import norm_gradients, scale_gradients

Tensors = dict[str, Tensor]

NORM = ("gain", "shift", "cell_gain", "cell_shift")


class LSTMLoop:
    """The time loops of one shape, on tensors by name."""

    def __init__(self, shape: LayerShape, launch: Launch) -> None:
        self.shape = shape
        self.launch = launch

    def inputs(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of what is copied in before the loop.

        Ŵ_h is `hyper_weight_h`, cut from the operator's hyper_weight_x; Ŵ_ĥ is `hyper_weight_hh`.
        """
        s = self.shape
        B, H, K, Z, own, full = s.batch, s.hidden, s.hyper, s.embedding, s.dtype, torch.float32
        room = {"h0": ((B, H), own), "c0": ((B, H), full), "weight_h": ((4 * H, H), own)}
        room |= _norm_room("", H, own) if s.norm else {}
        if s.masked:
            room["mask"] = ((s.rows, H), own)
        if K:
            room |= {"hyper_h0": ((B, K), own), "hyper_c0": ((B, K), full), "bias": ((4 * H,), own)}
            room |= {"hyper_weight_h": ((4 * K, H), own), "hyper_weight_hh": ((4 * K, K), own)}
            room |= {"P": ((12, Z, K), own), "p": ((8, Z), own), "D": ((12, H, Z), own)}
            room |= _norm_room("hyper_", K, own) if s.norm else {}
        return room

    def made(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of what the forward loop computes, and of wx, which is computed before it."""
        s = self.shape
        B, N, H, K, Z, own, full = s.batch, s.kept_rows, s.hidden, s.hyper, s.embedding, s.dtype, torch.float32
        room = {"wx": ((s.rows, s.width), own), "output": ((s.rows, H), own), "pre": ((N, 4 * H), own)}
        room |= {"h": ((B, H), own), "c": ((B, H), full)}
        if s.save:
            room["saved_c"] = ((N, H), full)
        if s.save and s.norm:
            room["stats"] = ((N, 10), full)
        if K:
            room |= {"wh": ((N, 4 * H), own), "hyper_pre": ((N, 4 * K), own), "saved_hyper_c": ((N, K), full)}
            room |= {"hyper_h": ((B, K), own), "hyper_c": ((B, K), full), "saved_z": ((N, 12 * Z), full)}
        if K and s.save:
            room["saved_hyper_h"] = ((N, K), own)
        if K and s.save and s.norm:
            room["hyper_stats"] = ((N, 10), full)
        return room

    def scratch(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of what the backward loop reads and computes. Nothing of it outlives the pass."""
        s = self.shape
        B, N, H, K, Z, own, full = s.batch, s.rows, s.hidden, s.hyper, s.embedding, s.dtype, torch.float32
        room = {"grad_output": ((N, H), own), "grad_h": ((B, H), full), "grad_c": ((B, H), full)}
        room |= {"grad_wh": ((N, s.width), own), "partial_h": ((5 if K else 4, B, H), full)}
        if s.norm:
            room |= {"grad_normed": ((N, 4 * H), own), "grad_cell_normed": ((N, H), own)}
        if K:
            chunks = blocks(H, s.tiles.scale_columns)
            room |= {"grad_pre": ((N, 4 * H), own), "grad_wx": ((N, s.width), own), "grad_z": ((N, 12 * Z), own)}
            room |= {"partial_z": ((chunks, B, 12 * Z), full), "partial_hyper_h": ((4 * chunks, B, K), full)}
            room["recurrent"] = ((B, K), full)
            room |= {"grad_hyper_h": ((B, K), full), "grad_hyper_c": ((B, K), full)}
        if K and s.norm:
            room |= {"grad_hyper_normed": ((N, 4 * K), own), "grad_hyper_cell_normed": ((N, K), own)}
        return room

    def forward(self, t: Mapping[str, Tensor]) -> None:
        """All steps; h, c, ĥ and ĉ hold the initial state before, and the final state after."""
        for index, step in enumerate(self.shape.steps):
            self._forward_step(t, step, index)

    def backward(self, t: Mapping[str, Tensor]) -> None:
        """All steps in reverse order; grad_h, grad_c … hold the gradients of the final state before."""
        for step in reversed(self.shape.steps):
            self._backward_step(t, step)

    def _launch(self, kernel: Any, grid: tuple[int, ...], arguments: dict[str, Any], **options: int) -> None:
        """Launch a kernel of the loop."""
        self.launch(kernel, grid, arguments | {"PDL": self.shape.pdl}, pdl=self.shape.pdl, **options)

    def _forward_step(self, t: Mapping[str, Tensor], step: Step, index: int) -> None:
        s, tiles = self.shape, self.shape.tiles
        H, K, Z = s.hidden, s.hyper, s.embedding
        # without a backward pass, the steps alternate between two places
        row = step.row if s.save else index % 2 * s.batch
        before_row = step.before_row if s.save else (index + 1) % 2 * s.batch
        columns = 4 * blocks(H, tiles.product["BLOCK_N"]) + 4 * blocks(K, tiles.product["BLOCK_N"])
        self._launch(
            product_forward,
            (columns, blocks(step.rows, tiles.product["BLOCK_M"])),
            {
                **{name: t.get(name) for name in ("h", "weight_h", "wx")},
                "out": t["wh" if K else "pre"],
                **{name: t.get(name) for name in ("hyper_h", "hyper_weight_h", "hyper_weight_hh", "hyper_pre")},
                "x_row": step.row,
                "row": row,
                "rows": step.rows,
                "H": H,
                "K": K,
                "WX_STRIDE": s.width,
                **tiles.product,
                "PRECISION": s.precision,
            },
            num_warps=tiles.product_warps,
            num_stages=tiles.product_stages,
        )
        if K:
            self._launch(
                hyper_forward,
                (step.rows, 4),
                {
                    **{name: t.get(name) for name in ("hyper_pre", "hyper_h", "hyper_c", "hyper_c0", "saved_hyper_h")},
                    **{name: t.get(name) for name in ("saved_hyper_c", "hyper_stats", *(f"hyper_{n}" for n in NORM))},
                    **{name: t[name] for name in ("P", "p", "saved_z")},
                    "row": row,
                    "before_row": before_row,
                    "before_rows": step.before_rows,
                    "eps": s.eps,
                    "K": K,
                    "Z": Z,
                    "BLOCK_Q": tiles.hyper_block,
                    "BLOCK_Z": tiles.embedding_block,
                },
                num_warps=tiles.hyper_warps,
            )
            self._launch(
                scales_forward,
                (blocks(step.rows, tiles.scale_rows), 4, blocks(H, tiles.scale_columns)),
                {
                    **{name: t[name] for name in ("saved_z", "D", "bias", "wx", "wh", "pre")},
                    "x_row": step.row,
                    "row": row,
                    "rows": step.rows,
                    "H": H,
                    "Z": Z,
                    "WX_STRIDE": s.width,
                    **tiles.scale_blocks,
                    "PRECISION": s.short_precision,
                },
                num_warps=tiles.scale_warps,
            )
        self._launch(
            cell_forward,
            (step.rows,),
            {
                **{name: t.get(name) for name in ("pre", "h", "c", "mask", *NORM, "output", "saved_c", "stats")},
                "x_row": step.row,
                "row": row,
                "eps": s.eps,
                "H": H,
                "BLOCK_H": tiles.row_block,
            },
            num_warps=tiles.row_warps,
        )

    def _backward_step(self, t: Mapping[str, Tensor], step: Step) -> None:
        s, tiles = self.shape, self.shape.tiles
        H, K, Z = s.hidden, s.hyper, s.embedding
        place = {"row": step.row, "before_row": step.before_row, "before_rows": step.before_rows}
        place |= {"after_rows": step.after_rows, "batch": s.batch}
        self._launch(
            cell_backward,
            (step.rows,),
            {
                **{name: t.get(name) for name in ("grad_output", "partial_h", "grad_h", "grad_c", "pre", "stats")},
                **{name: t.get(name) for name in ("saved_c", "c0", "mask", *NORM)},
                "grad_pre": t["grad_pre" if K else "grad_wh"],
                **{name: t.get(name) for name in ("grad_normed", "grad_cell_normed")},
                **place,
                "H": H,
                "STRIDE": 4 * H,
                "PARTS": 5 if K else 4,
                "BLOCK_H": tiles.row_block,
            },
            num_warps=tiles.row_warps,
        )
        if K:
            chunks = blocks(H, tiles.scale_columns)
            self._launch(
                scales_backward,
                (blocks(step.rows, tiles.scale_rows), 4, blocks(H, tiles.scale_columns)),
                {
                    **{name: t[name] for name in ("grad_pre", "wx", "wh", "saved_z", "D", "grad_wx", "grad_wh")},
                    **{name: t[name] for name in ("P", "partial_z", "partial_hyper_h")},
                    "row": step.row,
                    "rows": step.rows,
                    "batch": s.batch,
                    "H": H,
                    "K": K,
                    "Z": Z,
                    **tiles.scale_blocks,
                    "BLOCK_Q": tiles.hyper_block,
                    "PRECISION": s.short_precision,
                },
                num_warps=tiles.scale_backward_warps,
            )
            self._launch(
                hyper_backward,
                (step.rows,),
                {
                    **{name: t[name] for name in ("partial_z", "partial_hyper_h", "recurrent", "grad_hyper_h")},
                    "grad_hyper_c": t["grad_hyper_c"],
                    **{name: t.get(name) for name in ("hyper_pre", "hyper_stats", "saved_hyper_c", "hyper_c0")},
                    **{f"hyper_{name}": t.get(f"hyper_{name}") for name in NORM},
                    **{name: t[name] for name in ("grad_z", "grad_wx", "grad_wh")},
                    **{f"grad_{n}normed": t.get(f"grad_hyper_{n}normed") for n in ("", "cell_")},
                    **place,
                    "H": H,
                    "K": K,
                    "Z": Z,
                    "CHUNKS": chunks,
                    "BLOCK_E": power_of_two(12 * Z),
                    "BLOCK_P": power_of_two(4 * chunks),
                    "BLOCK_Q": tiles.hyper_block,
                },
                num_warps=tiles.hyper_warps,
            )
        tiles_of_h, tiles_of_k = (blocks(size, tiles.product["BLOCK_N"]) for size in (H, K))
        self._launch(
            product_backward,
            ((5 if K else 4) * tiles_of_h + tiles_of_k, blocks(step.rows, tiles.product["BLOCK_M"])),
            {
                **{
                    name: t.get(name)
                    for name in ("grad_wh", "weight_h", "hyper_weight_h", "hyper_weight_hh", "partial_h")
                },
                "grad_hyper_h": t.get("recurrent"),
                "row": step.row,
                "rows": step.rows,
                "batch": s.batch,
                "H": H,
                "K": K,
                **tiles.product,
                "PRECISION": s.precision,
            },
            num_warps=tiles.product_warps,
            num_stages=tiles.product_stages,
        )

    def project(self, x: Tensor, inputs: Mapping[str, Tensor | None], wx: Tensor) -> None:
        """[W_x x + b; Ŵ_x x + b̂] for all rows to wx; the main b is added after the scaling where there is a hyper cell."""
        weight, bias = self.input_weight(inputs), inputs.get("bias")
        if self.shape.hyper:
            hyper_bias = inputs["hyper_bias"]
            assert hyper_bias is not None
            bias = torch.nn.functional.pad(hyper_bias, (4 * self.shape.hidden, 0))
        if bias is None:
            torch.mm(x, weight.mT, out=wx)
        else:
            torch.addmm(bias, x, weight.mT, out=wx)

    def input_weight(self, inputs: Mapping[str, Tensor | None]) -> Tensor:
        """[W_x; Ŵ_x], (4H + 4K, I)."""
        weight_x, hyper_weight_x = inputs["weight_x"], inputs.get("hyper_weight_x")
        assert weight_x is not None
        if hyper_weight_x is None:
            return weight_x
        return torch.cat((weight_x, hyper_weight_x[:, : self.shape.input]))

    def gradients(
        self, t: Mapping[str, Tensor], x: Tensor, weight_x: Tensor, need_x: bool, need_weights: bool
    ) -> Tensors:
        """The gradients of the inputs of the operator by their names, after the backward loop."""
        s = self.shape
        H, K, own = s.hidden, s.hyper, s.dtype
        grad_wx, grad_wh = t["grad_wx" if K else "grad_wh"], t["grad_wh"]
        grads = {"h0": t["partial_h"].sum(0).to(own), "c0": t["grad_c"].to(own, copy=True)}
        if K:
            # copies: another backward pass of this shape writes to the same memory
            grads["hyper_h0"] = t["recurrent"].to(own, copy=True)
            grads["hyper_c0"] = t["grad_hyper_c"].to(own, copy=True)
        if need_x:
            grads["x"] = grad_wx @ weight_x
        if not need_weights:
            return grads
        on_x, on_h = grad_wx.mT @ x, grad_wh.mT @ self._before(t["output"], t["h0"])
        grads |= {"weight_x": on_x[: 4 * H], "weight_h": on_h[: 4 * H]}
        grad_pre = t["grad_pre" if K else "grad_wh"]
        if s.bias:
            grads["bias"] = _sum_rows(grad_pre)
        if s.norm:
            self._norm_gradients(grads, "", t, t["pre"], t["saved_c"], H)
        if K:
            grad_hyper_pre = grad_wh[:, 4 * H :]
            grads["hyper_weight_x"] = torch.cat((on_x[4 * H :], on_h[4 * H :]), 1)
            grads["hyper_weight_h"] = grad_hyper_pre.mT @ self._before(t["saved_hyper_h"], t["hyper_h0"])
            grads["hyper_bias"] = _sum_rows(grad_hyper_pre)
            grads["P"] = (t["grad_z"].mT @ t["saved_hyper_h"]).view(12, s.embedding, K)
            grads["p"] = _sum_rows(t["grad_z"][:, : 8 * s.embedding]).view(8, s.embedding)
            grads["D"] = self._scale_gradients(t).to(own)
        if K and s.norm:
            self._norm_gradients(grads, "hyper_", t, t["hyper_pre"], t["saved_hyper_c"], K)
        return grads

    def _before(self, of_rows: Tensor, initial: Tensor) -> Tensor:
        """The values of the step before, for every row: (N, ·)."""
        s = self.shape
        if s.batch_sizes[-1] == s.batch:
            return torch.cat((of_rows[s.batch :], initial) if s.reverse else (initial, of_rows[: -s.batch]))
        parts = []
        for step in sorted(s.steps):
            parts += [
                of_rows[step.before_row : step.before_row + step.before_rows],
                initial[step.before_rows : step.rows],
            ]
        return torch.cat(parts)

    def _splits(self) -> tuple[int, int]:
        """The number of programs that share the rows, and the rows of each."""
        splits = max(1, min(64, self.shape.rows // 128))
        return splits, blocks(self.shape.rows, splits)

    def _norm_gradients(
        self, grads: Tensors, prefix: str, t: Mapping[str, Tensor], pre: Tensor, cell: Tensor, size: int
    ) -> None:
        splits, share = self._splits()
        for own, a, gates, stat in (("", pre, 4, 0), ("cell_", cell, 1, 8)):
            partial = pre.new_empty((splits, 2, gates * size), dtype=torch.float32)
            block = min(64, self.shape.tiles.row_block)
            self.launch(
                norm_gradients,
                (gates * blocks(size, block), splits),
                {
                    "grad_normed": t[f"grad_{prefix}{own}normed"],
                    "a": a,
                    "stats": t[f"{prefix}stats"],
                    "partial": partial,
                    "rows": self.shape.rows,
                    "share": share,
                    "GATES": gates,
                    "SIZE": size,
                    "STAT": stat,
                    "BLOCK_N": 32,
                    "BLOCK_C": block,
                },
                num_warps=4,
            )
            gain, shift = partial.sum(0).to(self.shape.dtype)
            shape = (gates, size) if gates > 1 else (size,)
            grads |= {f"{prefix}{own}gain": gain.view(shape), f"{prefix}{own}shift": shift.view(shape)}

    def _scale_gradients(self, t: Mapping[str, Tensor]) -> Tensor:
        s = self.shape
        splits, share = self._splits()
        splits = min(splits, 16)
        share = blocks(s.rows, splits)
        partial = t["pre"].new_empty((splits, 12, s.hidden, s.embedding), dtype=torch.float32)
        block = min(64, s.tiles.scale_columns)
        self.launch(
            scale_gradients,
            (4 * blocks(s.hidden, block), splits),
            {
                **{name: t[name] for name in ("grad_pre", "wx", "wh", "saved_z")},
                "partial": partial,
                "rows": s.rows,
                "share": share,
                "H": s.hidden,
                "Z": s.embedding,
                "WX_STRIDE": s.width,
                "BLOCK_N": 32,
                "BLOCK_C": block,
                "BLOCK_Z": s.tiles.embedding_block,
                "PRECISION": s.precision,
            },
            num_warps=4,
        )
        return partial.sum(0)


def _sum_rows(a: Tensor) -> Tensor:
    return a.sum(0, dtype=torch.float32).to(a.dtype)


def _norm_room(prefix: str, size: int, dtype: torch.dtype) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    gates = {f"{prefix}{name}": ((4, size), dtype) for name in NORM[:2]}
    return gates | {f"{prefix}{name}": ((size,), dtype) for name in NORM[2:]}
