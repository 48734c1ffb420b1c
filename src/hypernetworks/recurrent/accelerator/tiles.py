"""Block sizes and warps of the kernels, chosen from the sizes of a layer."""

from typing import NamedTuple

import torch

from .launch import power_of_two
from .shape import LayerShape


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
        # compiled for compute capability 8.0, a tile of 128 rows does not fit into the registers
        block_m = 16 if batch <= 32 else 128 if wide and shape.pdl else 64
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
