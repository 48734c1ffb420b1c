"""Pictures of a trace, with matplotlib (the extra `plot`); the kernels of static hypernetworks are drawn in vision/pictures.py.

Each takes the `LayerTrace` of one sequence, as `trace` gives it for an input (T, I), and gives a Figure of matplotlib, which
`figure.savefig("name.svg")` writes. All raise ValueError for the trace of a batch, and ImportError without matplotlib.

T time, G gates, H hidden, Z embedding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .trace import LayerTrace, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 80
"""Characters in a line of `plot_weight_change`."""


def plot_weight_change(layer: LayerTrace, text: Sequence[str]) -> "Figure":
    """How much each gate's W_h changed at each character: a row for each gate below each line of the text.

    Dark is a large change, in one scale for all gates. HyperNetworks, arXiv 1609.09106, figure 4.

    text: the T characters that the network read. Errors: ValueError for another number of them.
    """
    from matplotlib.figure import Figure

    change = _of_one_sequence(layer.change, 2)
    if len(text) != len(change):
        raise ValueError(f"text should have the {len(change)} characters that were traced, got {len(text)}")
    lines = change.split(COLUMNS)
    figure = Figure(figsize=(12, 0.5 + len(lines) * (0.35 + 0.18 * change.shape[1])), layout="constrained")
    most = change.max().item()
    for number, (axes, line) in enumerate(zip(figure.subplots(len(lines), squeeze=False)[:, 0], lines, strict=True)):
        axes.imshow(line.T.numpy(), cmap="Oranges", vmin=0, vmax=most, aspect="auto")
        shown = [_visible(letter) for letter in text[number * COLUMNS :][: len(line)]]
        axes.set_xticks(range(len(line)), shown, family="monospace", fontsize=8)
        axes.set_yticks(range(len(layer.gate_names)), layer.gate_names)
        axes.set_xlim(-0.5, min(COLUMNS, len(change)) - 0.5)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
    figure.suptitle("change of $W_h$ of each gate")
    return figure


def plot_gates(layer: LayerTrace) -> "Figure":
    """How open each gate is over time: the mean over the H units, and the band that holds 80 % of them."""
    from matplotlib.figure import Figure

    gates = _of_one_sequence(layer.gates, 3).double()
    bounds = torch.tensor([0.1, 0.9], dtype=gates.dtype)
    figure = Figure(figsize=(12, 1.6 * len(layer.gate_names)), layout="constrained")
    panels = figure.subplots(len(layer.gate_names), sharex=True, squeeze=False)[:, 0]
    for k, (axes, name) in enumerate(zip(panels, layer.gate_names, strict=True)):
        low, high = gates[:, k].quantile(bounds, dim=-1)
        axes.plot(gates[:, k].mean(-1).numpy())
        axes.fill_between(range(len(gates)), low.numpy(), high.numpy(), alpha=0.25)
        axes.set(ylabel=name)
    panels[-1].set(xlabel="step")
    return figure


def plot_embeddings(layer: LayerTrace) -> "Figure":
    """The embeddings z that scale W_h, one panel for each gate, over time in their two principal components."""
    from matplotlib.figure import Figure

    z = _of_one_sequence(layer.z, 3)
    blocks = 1 if layer.d_h is None else _of_one_sequence(layer.d_h, 3).shape[1]
    figure = Figure(figsize=(3.4 * blocks, 3.6), layout="constrained")
    panels = figure.subplots(1, blocks, squeeze=False)[0]
    for k, axes in enumerate(panels):
        points = principal_components(z[:, k])
        axes.plot(*points.T.numpy(), color="0.8", linewidth=0.6, zorder=0)
        axes.scatter(*points.T.numpy(), c=range(len(points)), s=9)
        axes.set(title=f"$z_h$ of {layer.gate_names[k]}", xticks=[], yticks=[])
        axes.set_aspect("equal", adjustable="datalim")
    figure.colorbar(panels[-1].collections[0], ax=panels, label="step")
    return figure


def principal_components(z: Tensor) -> Tensor:
    """The coordinates of points z (T, Z) in the two directions of their largest variance, (T, 2); 0 where there is none."""
    centred = z - z.mean(0)
    # centred = U S Vᵀ; the coordinates are centred V = U S
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    points = (U * S)[:, :2]
    return torch.nn.functional.pad(points, (0, 2 - points.shape[1]))


def plot_scales(layer: LayerTrace) -> "Figure":
    """Histograms of d_h, d_x and d_b over all steps and units, a row for each, a colour for each gate."""
    from matplotlib.figure import Figure

    made = {"d_h": layer.d_h, "d_x": layer.d_x, "d_b": layer.d_b}
    rows = {name: _of_one_sequence(scales, 3) for name, scales in made.items() if scales is not None}
    figure = Figure(figsize=(7, 2.4 * len(rows)), layout="constrained")
    for axes, (name, scales) in zip(figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=True):
        for k, gate in enumerate(layer.gate_names[: scales.shape[1]]):
            axes.hist(scales[:, k].flatten().numpy(), bins=60, histtype="step", label=gate)
        axes.set(xlabel=f"${name}$", ylabel="count")
        axes.legend()
    return figure


def _of_one_sequence(values: Series, dims: int) -> Tensor:
    """Values of one sequence over time, on the CPU; a ValueError for those of a batch."""
    if not isinstance(values, Tensor) or values.dim() != dims:
        raise ValueError("a plot shows one sequence: trace an input of shape (time, input_size)")
    return values.cpu()


def _visible(letter: str) -> str:
    """A character as a label: what cannot be seen has a sign, and $ begins no formula."""
    return {"\n": "↵", " ": "·", "$": r"\$"}.get(letter, letter)
