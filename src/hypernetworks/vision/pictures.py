"""Pictures of learned and generated kernels, drawn with matplotlib (the extra `plot`)."""

from collections.abc import Mapping

from torch import Tensor, nn

from hypernetworks.runs.curve import svg_of
from hypernetworks.vision.models import kernel_shown


def draw_kernels(models: Mapping[str, nn.Module]) -> str:
    """Draw one kernel of each model as SVG: one filter per cell, output channels in rows, input channels in columns.

    The grey scale of each kernel ranges from −m to m, where m is its largest magnitude.

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
    """A kernel (16, 16, f, f) as one picture, with lines of NaN, which are not drawn, between filters."""
    O, I, f, _ = kernel.shape
    cells = kernel.new_full((O, I, f + 1, f + 1), float("nan"))
    cells[:, :, :f, :f] = kernel
    return cells.permute(0, 2, 1, 3).reshape(O * (f + 1), I * (f + 1))[:-1, :-1]
