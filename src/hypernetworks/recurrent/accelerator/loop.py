"""The time loops of a layer: which kernels run, in which order, on which tensors. Here is what all cells share.

The product on x of all steps comes before the loop. All gradients of parameters come after it. The loop allocates nothing and
keeps all addresses, so that it can be captured in a graph.

The tensors of a loop are in one dictionary. They have the names of the operator's arguments and results, except

    wx               [W_x x + b; Ŵ_x x + b̂] of all rows
    pre, hyper_pre   the two parts of saved_pre
    partial_h        the gradient of h_{t-1} in parts, one for each product
    grad_wx, grad_wh the gradients of the products on x and on h
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from .launch import Launch, blocks
from .products import product_backward, product_forward
from .shape import LayerShape, Step
from .sums import norm_gradients
from .tiles import Tiles

Tensors = dict[str, Tensor]
Room = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Shapes and dtypes of tensors by name."""


class Loop(ABC):
    """The time loops of one shape, on tensors by name. A subclass gives its cell's tensors and kernels."""

    gates: ClassVar[int]
    """Row blocks of W_x and W_h."""
    apart: ClassVar[int]
    """How many of the last blocks keep their product on h apart from that on x."""
    states: ClassVar[tuple[str, ...]]
    """The running state; h0, ... is the initial one, grad_h, ... the gradient of the final one."""
    one_launch: ClassVar[bool] = False
    """Whether each pass is one kernel, so that a graph has nothing to save."""

    def __init__(self, shape: LayerShape, launch: Launch) -> None:
        self.shape = shape
        self.tiles: Tiles = Tiles.choose(shape)
        self._launch = launch

    @property
    def width(self) -> int:
        """Columns of wx."""
        return self.gates * self.shape.hidden + 4 * self.shape.hyper

    # tensors

    @abstractmethod
    def inputs(self) -> Room:
        """What the loops read: arguments of the operator, in the dtype that the kernels want."""

    def read(self, given: Mapping[str, Tensor | None]) -> Tensors:
        """The tensors of `inputs()` from the operator's arguments; copies only where dtype or layout differ."""
        return {name: needed(given, name).to(dtype).contiguous() for name, (_, dtype) in self.inputs().items()}

    def made(self) -> Room:
        """What the forward loop computes: results of the operator, the running state, and wx."""
        s, steps = self.shape, self.shape.kept_rows
        room: Room = {"wx": ((s.rows, self.width), s.dtype), "output": ((s.rows, s.hidden), s.dtype)}
        room["h"] = ((s.batch, s.hidden), s.dtype)
        room["saved_pre"] = ((steps, self.width), s.dtype)
        if self.apart:
            room["saved_wh"] = ((steps, self.apart * s.hidden), s.dtype)
        return room

    def scratch(self) -> Room:
        """What the backward loop computes, and the gradients that it starts from. Nothing of it outlives the pass."""
        s = self.shape
        parts = self.gates + (s.hyper > 0)
        return {
            "grad_output": ((s.rows, s.hidden), s.dtype),
            "grad_h": ((s.batch, s.hidden), torch.float32),
            "grad_wh": ((s.rows, self.width), s.dtype),
            "partial_h": ((parts, s.batch, s.hidden), torch.float32),
        }

    # loops

    def begin(self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None]) -> None:
        """Before the forward loop: the product on x of all rows, and the initial state."""
        self.project(given, t["wx"])
        for name in self.states:
            t[name].copy_(t[f"{name}0"])

    def begin_backward(self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None]) -> None:
        """Before the backward loop: compute what it reads and the operator did not save."""
        return

    def project(self, given: Mapping[str, Tensor | None], wx: Tensor) -> None:
        """W_x x + b of all rows."""
        x, weight, bias = needed(given, "x"), needed(given, "weight_x"), given.get("bias")
        if bias is None:
            torch.mm(x, weight.mT, out=wx)
        else:
            torch.addmm(bias, x, weight.mT, out=wx)

    def forward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps; the states hold the initial state before, and the final state after."""
        t = self._views(tensors)
        for index, step in enumerate(self.shape.steps):
            # without a backward pass, the steps alternate between two places
            row = step.row if self.shape.save else index % 2 * self.shape.batch
            before_row = step.before_row if self.shape.save else (index + 1) % 2 * self.shape.batch
            self.forward_step(t, step, row, before_row)

    def backward(self, tensors: Mapping[str, Tensor]) -> None:
        """All steps in reverse order; grad_h, ... hold the gradients of the final state before."""
        t = self._views(tensors)
        for step in reversed(self.shape.steps):
            self.backward_step(t, step)

    @abstractmethod
    def forward_step(self, t: Tensors, step: Step, row: int, before_row: int) -> None:
        """One step. Its rows of what is kept begin at `row`, and those of the step before at `before_row`."""

    @abstractmethod
    def backward_step(self, t: Tensors, step: Step) -> None:
        """One step in reverse order."""

    def _views(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """The tensors, with saved_pre as its two parts, each contiguous."""
        pre = tensors["saved_pre"]
        rows, main = pre.shape[0], self.gates * self.shape.hidden
        parts = pre.view(-1).split((rows * main, rows * (self.width - main)))
        return {**tensors, "pre": parts[0].view(rows, main), "hyper_pre": parts[1].view(rows, self.width - main)}

    # kernels

    def launch(self, kernel: Any, grid: tuple[int, ...], arguments: dict[str, Any], **options: int) -> None:
        """Launch a kernel of the loop."""
        self._launch(kernel, grid, arguments | {"PDL": self.shape.pdl}, pdl=self.shape.pdl, **options)

    def place(self, step: Step) -> dict[str, int]:
        """Where a step's rows are, and those of its neighbours."""
        place = {"row": step.row, "before_row": step.before_row, "before_rows": step.before_rows}
        return place | {"after_rows": step.after_rows, "batch": self.shape.batch}

    def product_forward(self, t: Mapping[str, Tensor], step: Step, row: int) -> None:
        """Everything that meets h_{t-1}."""
        s, tiles = self.shape, self.tiles
        columns = self.gates * blocks(s.hidden, tiles.product["BLOCK_N"]) + 4 * blocks(
            s.hyper, tiles.product["BLOCK_N"]
        )
        tensors = ("h", "weight_h", "wx", "hyper_h", "hyper_weight_h", "hyper_weight_hh")
        self.launch(
            product_forward,
            (columns, blocks(step.rows, tiles.product["BLOCK_M"])),
            {
                **{name: t.get(name) for name in tensors},
                "pre": t["pre"] if self.apart < self.gates else None,
                "wh": t.get("saved_wh") if self.apart else None,
                "hyper_pre": t["hyper_pre"] if s.hyper else None,
                "x_row": step.row,
                "row": row,
                "rows": step.rows,
                "H": s.hidden,
                "K": s.hyper,
                "GATES": self.gates,
                "APART": self.apart,
                **tiles.product,
                "PRECISION": s.precision,
            },
            num_warps=tiles.product_warps,
            num_stages=tiles.product_stages,
        )

    def product_backward(self, t: Mapping[str, Tensor], step: Step) -> None:
        """The gradient of h_{t-1}, in parts, and that of ĥ_{t-1}."""
        s, tiles = self.shape, self.tiles
        tiles_of_h, tiles_of_k = (blocks(size, tiles.product["BLOCK_N"]) for size in (s.hidden, s.hyper))
        tensors = ("grad_wh", "weight_h", "hyper_weight_h", "hyper_weight_hh", "partial_h")
        self.launch(
            product_backward,
            (t["partial_h"].shape[0] * tiles_of_h + tiles_of_k, blocks(step.rows, tiles.product["BLOCK_M"])),
            {
                **{name: t.get(name) for name in tensors},
                "grad_hyper_h": t.get("recurrent"),
                "row": step.row,
                "rows": step.rows,
                "batch": s.batch,
                "H": s.hidden,
                "K": s.hyper,
                "GATES": self.gates,
                **tiles.product,
                "PRECISION": s.precision,
            },
            num_warps=tiles.product_warps,
            num_stages=tiles.product_stages,
        )

    # gradients, after the backward loop

    @abstractmethod
    def gradients(
        self, t: Mapping[str, Tensor], given: Mapping[str, Tensor | None], need_x: bool, need_weights: bool
    ) -> Tensors:
        """The gradients of the operator's arguments by name. None shares memory with the loop's tensors."""

    def sum_parts(self, t: Mapping[str, Tensor]) -> Tensor:
        """The products' share of the gradient of h0, in float32."""
        return t["partial_h"].sum(0)

    def rows_before(self, of_rows: Tensor, initial: Tensor) -> Tensor:
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

    def norm_gradients(
        self, grad_normed: Tensor, a: Tensor, stats: Tensor, at: int, gates: int
    ) -> tuple[Tensor, Tensor]:
        """The gradients of gain and shift, (gates·size,) each, where `stats` has the moments of `a` from column `at`."""
        size = a.shape[1] // gates
        splits, share = self.splits(64)
        partial = torch.empty((splits, 2, gates * size), dtype=torch.float32, device=a.device)
        block = min(64, self.tiles.row_block)
        self._launch(
            norm_gradients,
            (gates * blocks(size, block), splits),
            {
                "grad_normed": grad_normed,
                "a": a,
                "stats": stats,
                "partial": partial,
                "rows": self.shape.rows,
                "share": share,
                "GATES": gates,
                "SIZE": size,
                "STATS": stats.shape[1],
                "STAT": at,
                "BLOCK_N": 32,
                "BLOCK_C": block,
            },
            num_warps=4,
        )
        gain, shift = partial.sum(0).to(self.shape.dtype)
        return gain, shift

    def splits(self, most: int) -> tuple[int, int]:
        """The number of programs that share the rows, and the rows of each."""
        splits = max(1, min(most, self.shape.rows // 128))
        return splits, blocks(self.shape.rows, splits)


def sum_rows(a: Tensor) -> Tensor:
    """Σ_n a_n, summed in float32."""
    return a.sum(0, dtype=torch.float32).to(a.dtype)


def needed(given: Mapping[str, Tensor | None], name: str) -> Tensor:
    """The argument of this name, which every layer of the kind has."""
    tensor = given[name]
    assert tensor is not None, name
    return tensor
