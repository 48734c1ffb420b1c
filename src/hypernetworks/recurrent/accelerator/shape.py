"""What one call of a layer is made for: sizes, dtype, and the rows of each step.

B batch, T time, N rows of all steps, I input, H hidden, K hyper hidden, Z embedding.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch


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

    name: str
    """Of the operator: lstm or gru."""
    device: torch.device
    dtype: torch.dtype
    batch_sizes: tuple[int, ...]
    reverse: bool
    input: int
    hidden: int
    hyper: int
    """0 for a layer without a hyper cell."""
    embedding: int
    bias_h: bool
    """Whether a GRU has b_h."""
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
    def kept_rows(self) -> int:
        """Rows of what is kept for the backward pass; without one, room for two steps in turn."""
        return self.rows if self.save else 2 * self.batch

    @cached_property
    def steps(self) -> list[Step]:
        """All steps, in the order in which they are computed."""
        return steps_of(self.batch_sizes, self.reverse)


def steps_of(batch_sizes: tuple[int, ...], reverse: bool) -> list[Step]:
    """All steps of a batch, whose rows of one time after another lie in this order; in the order in which they are computed."""
    starts = [0]
    for size in batch_sizes[:-1]:
        starts.append(starts[-1] + size)
    order = list(range(len(batch_sizes)))
    if reverse:
        order.reverse()
    steps = []
    for k, t in enumerate(order):
        before = order[k - 1] if k > 0 else None
        after = order[k + 1] if k + 1 < len(order) else None
        steps.append(
            Step(
                row=starts[t],
                rows=batch_sizes[t],
                before_row=0 if before is None else starts[before],
                before_rows=0 if before is None else min(batch_sizes[t], batch_sizes[before]),
                after_rows=0 if after is None else min(batch_sizes[t], batch_sizes[after]),
            )
        )
    return steps
