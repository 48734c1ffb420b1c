"""What one call of a layer is made for: sizes, dtype, the rows of each step, and the tiles of its kernels.

B batch, T time, N rows of all steps, I input, H hidden, K hyper hidden, Z embedding.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from .launch import power_of_two


class Step(NamedTuple):
    """The rows of one time step, in the order of the computation."""

    row: int
    """Where its rows begin among the N rows."""
    rows: int
    before_row: int
    """Where the rows of the step that was computed before begin."""
    before_rows: int
    """How many of the rows have one there; the others begin with the initial state."""
    after_rows: int
    """How many of the rows have one in the step that is computed next; the others end here."""


@dataclass(frozen=True)
class LayerShape:
    """Everything that a captured graph depends on, except addresses."""

    device: torch.device
    dtype: torch.dtype
    batch_sizes: tuple[int, ...]
    reverse: bool
    input: int
    hidden: int
    hyper: int
    """0 for a layer without a hyper cell."""
    embedding: int
    bias: bool
    norm: bool
    masked: bool
    save: bool
    """Whether a backward pass follows."""
    eps: float
    precision: str
    """How a product of float32 numbers is computed: Triton's `input_precision`."""
    pdl: bool
    """Whether the device has programmatic dependent launch."""

    @property
    def short_precision(self) -> str:
        """The same for the short products with P and D: exact ones need fewer registers than three in TF32."""
        return "ieee" if self.precision == "tf32x3" else self.precision

    @property
    def batch(self) -> int:
        """B."""
        return self.batch_sizes[0]

    @property
    def rows(self) -> int:
        """N."""
        return sum(self.batch_sizes)

    @property
    def width(self) -> int:
        """Columns of the product on x: all gates of both cells."""
        return 4 * (self.hidden + self.hyper)

    @property
    def kept_rows(self) -> int:
        """Rows of what is kept for the backward pass; without one, room for two steps in turn."""
        return self.rows if self.save else 2 * self.batch

    @cached_property
    def steps(self) -> list[Step]:
        """All steps, in the order in which they are computed."""
        sizes = self.batch_sizes
        starts = [0]
        for size in sizes[:-1]:
            starts.append(starts[-1] + size)
        order = list(range(len(sizes)))
        if self.reverse:
            order.reverse()
        steps = []
        for k, t in enumerate(order):
            before = order[k - 1] if k > 0 else None
            after = order[k + 1] if k + 1 < len(order) else None
            steps.append(
                Step(
                    row=starts[t],
                    rows=sizes[t],
                    before_row=0 if before is None else starts[before],
                    before_rows=0 if before is None else min(sizes[t], sizes[before]),
                    after_rows=0 if after is None else min(sizes[t], sizes[after]),
                )
            )
        return steps

    @cached_property
    def tiles(self) -> "Tiles":
        """The tiles of the kernels."""
        return Tiles.choose(self)


class Tiles(NamedTuple):
    """Block sizes and warps. They depend on the sizes alone, not on a search, so they are the same in every run."""

    product: dict[str, int]
    product_warps: int
    product_stages: int
    row_block: int
    row_warps: int
    hyper_block: int
    hyper_warps: int
    scale_rows: int
    scale_columns: int
    scale_warps: int
    scale_backward_warps: int
    embedding_block: int

    @property
    def scale_blocks(self) -> dict[str, int]:
        """Blocks of the kernels that scale the gates."""
        return {"BLOCK_R": self.scale_rows, "BLOCK_C": self.scale_columns, "BLOCK_Z": self.embedding_block}

    @classmethod
    def choose(cls, shape: LayerShape) -> "Tiles":
        """The tiles for a shape."""
        batch, hidden = shape.batch, shape.hidden
        # measured on an H200 at B 16 to 128, H 256 to 1000: wide tiles pay where the rows are many and the numbers short
        wide = batch > 64 and shape.dtype != torch.float32
        block_m = 16 if batch <= 32 else 128 if wide else 64
        block_n = 64 if wide else 32
        block_n = min(block_n, power_of_two(hidden, 16))
        block_k = min(64, power_of_two(hidden, 16))
        row_block = power_of_two(hidden, 32)
        hyper_block = power_of_two(shape.hyper, 16)
        return cls(
            product={"BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k},
            product_warps=4,
            product_stages=4,
            row_block=row_block,
            row_warps=max(1, min(8, row_block // 256)),
            hyper_block=hyper_block,
            hyper_warps=4,
            scale_rows=16,
            scale_columns=min(64, power_of_two(hidden, 16)),
            scale_warps=4,
            scale_backward_warps=4,
            embedding_block=power_of_two(shape.embedding, 16),
        )
