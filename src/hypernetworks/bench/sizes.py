"""The sizes that are measured.

T time, B batch, I input, H hidden, K hyper hidden, Z embedding. Plain networks have no K and Z.
"""

from typing import Literal, NamedTuple

Quantity = Literal["forward", "training", "generation", "memory"]
QUANTITIES: tuple[Quantity, ...] = ("forward", "training", "generation", "memory")
DESCRIPTIONS: dict[Quantity, str] = {
    "forward": "forward, no gradients",
    "training": "training step: forward and backward",
    "generation": "generation: one step (of cells over torch's cell)",
    "memory": "peak memory of a training step",
}
"""Quantities in words."""

Axis = Literal["T", "B", "H"]


class Size(NamedTuple):
    """A size with its name. If it is a point of a curve, `axis` is the number that varies along the curve."""

    name: str
    T: int
    B: int
    I: int
    H: int
    K: int
    Z: int
    axis: Axis | None = None

    def __str__(self) -> str:
        """The name and every number."""
        numbers = ", ".join(f"{letter} {getattr(self, letter)}" for letter in "TBIHKZ")
        return f"{self.name} ({numbers})"


SIZES: dict[str, Size] = {
    size.name: size
    for size in (
        Size("small", 128, 32, 256, 256, 64, 16),
        Size("labml", 512, 2, 512, 512, 16, 16),
        Size("ptb", 100, 128, 128, 1000, 128, 16),
    )
}
"""A medium size, the size of labml_nn's own experiment, and that of the paper's Penn Treebank experiment."""

ONE_STEP = Size("one step", 1, 1, 512, 512, 16, 16)
"""The size of one step of generation."""

CURVES: dict[Axis, list[Size]] = {
    "T": [Size(f"T = {T}", T, 1, 64, 64, 16, 16, "T") for T in (128, 512, 2048, 8192)],
    "B": [Size(f"B = {B}", 32, B, 256, 256, 64, 16, "B") for B in (1, 4, 16, 64, 256)],
    "H": [Size(f"H = {H}", 32, 16, H, H, 64, 16, "H") for H in (64, 128, 256, 512, 1024)],
}
"""One number varies along each curve. Along H, the input size equals H."""
