"""Learned and generated kernels beside each other, with matplotlib (the extra `plot`)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hypernetworks.runs.curve import svg_of
from hypernetworks.vision.models import kernel_shown


def draw_kernels(models: Mapping[str, nn.Module]) -> str:
    """An SVG of one kernel of each model: a filter in each cell, rows output channels, columns input channels.

    Each kernel has the greys of its own, from −m to m, m its largest magnitude.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(models), 5.3), layout="constrained")
    for axes, (name, model) in zip(figure.subplots(1, len(models), squeeze=False)[0], models.items(), strict=True):
        kernel = kernel_shown(model).cpu()
        most = kernel.abs().max().item()
        axes.imshow(_mosaic(kernel).numpy(), cmap="gray", vmin=-most, vmax=most, interpolation="nearest")
        axes.set(
            title=f"{name} kernel, 16 × 16 filters of {kernel.shape[-1]} × {kernel.shape[-1]}", xticks=[], yticks=[]
        )
    return svg_of(figure)


def _mosaic(kernel: Tensor) -> Tensor:
    """(16, 16, f, f) as one picture, a line of NaN, which is drawn in no colour, between filters."""
    O, I, f, _ = kernel.shape
    cells = kernel.new_full((O, I, f + 1, f + 1), float("nan"))
    cells[:, :, :f, :f] = kernel
    return cells.permute(0, 2, 1, 3).reshape(O * (f + 1), I * (f + 1))[:-1, :-1]
