"""Plots of a trace, with matplotlib (the extra `plot`). The kernels of static hypernetworks are drawn in vision/pictures.py.

Each function takes the `LayerTrace` of one sequence, as returned by `trace` for an input (T, I), and returns a matplotlib
Figure. Save it with `figure.savefig("name.svg")`. All of them raise ValueError for the trace of a batch, and ImportError if
matplotlib is not installed.

T time, G gates, H hidden, Z embedding.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hypernetworks.analysis.trace import LayerTrace, Series

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 80
"""Characters per line of `plot_weight_change`."""


def plot_weight_change(layer: LayerTrace, text: Sequence[str]) -> "Figure":
    """Plot how much each step changed each gate's W_h, relative to W_h: one row per gate below each line of the text.

    Dark means a large change. All gates share one colour scale, from 0 to the largest change.

    Args:
        layer: the trace of one sequence.
        text: the T characters that the steps generated. If a network reads what it writes, these are the characters that it
            read, without the first, and the one after the last.

    Raises:
        ValueError: the trace is of a batch, or `text` does not have T characters.
        ImportError: matplotlib is not installed.

    Source: HyperNetworks, arXiv 1609.09106, figure 4.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> layer = hn.trace(rnn, torch.randn(5, 3)).layers[0]     # of the characters " hell"
        >>> figure = plot_weight_change(layer, "hello")
    """
    change = _of_one_sequence(layer.relative, 2)
    if len(text) != len(change):
        raise ValueError(f"text should have the {len(change)} characters that were traced, got {len(text)}")
    return strips(change, layer.gate_names, text)


def strips(change: Tensor, gates: Sequence[str], text: Sequence[str]) -> "Figure":
    """Plot the relative change (T, G) of each gate at each of T characters, as `plot_weight_change` does; nan stays blank."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    percent = 100 * change
    lines = percent.split(COLUMNS)
    figure = Figure(figsize=(12, 0.9 + len(lines) * (0.35 + 0.18 * change.shape[1])), layout="constrained")
    colours = ScalarMappable(Normalize(0, percent.nan_to_num(0).max().item() or 1), "Oranges")
    panels = figure.subplots(len(lines), squeeze=False)[:, 0]
    for number, (axes, line) in enumerate(zip(panels, lines, strict=True)):
        axes.imshow(line.T.numpy(), cmap=colours.cmap, norm=colours.norm, aspect="auto")
        shown = [_visible(letter) for letter in text[number * COLUMNS :][: len(line)]]
        axes.set_xticks(range(len(line)), shown, family="monospace", fontsize=8)
        axes.set_yticks(range(len(gates)), gates)
        axes.set_xlim(-0.5, min(COLUMNS, len(change)) - 0.5)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
    label = "change of $W_h$ in the step that generated the character, in % of $W_h$"
    figure.colorbar(colours, ax=panels, location="top", shrink=0.4, aspect=50, label=label)
    return figure


def plot_gates(layer: LayerTrace) -> "Figure":
    """Plot each gate over time: the mean over the H units, and the band between their 10th and 90th percentiles.

    Args:
        layer: the trace of one sequence.

    Raises:
        ValueError: the trace is of a batch.
        ImportError: matplotlib is not installed.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> figure = plot_gates(hn.trace(rnn, torch.randn(7, 3)).layers[0])
    """
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
    """Plot the embeddings z that scale W_h over time, in their first two principal components, one panel per gate.

    Args:
        layer: the trace of one sequence.

    Raises:
        ValueError: the trace is of a batch.
        ImportError: matplotlib is not installed.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> figure = plot_embeddings(hn.trace(rnn, torch.randn(7, 3)).layers[0])
    """
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
    """Project points z (T, Z) onto their first two principal components, (T, 2); zero-padded if Z is 1."""
    centred = z - z.mean(0)
    # centred = U S Vᵀ; the coordinates are centred V = U S
    U, S, _ = torch.linalg.svd(centred, full_matrices=False)
    points = (U * S)[:, :2]
    return torch.nn.functional.pad(points, (0, 2 - points.shape[1]))


def plot_scales(layer: LayerTrace) -> "Figure":
    """Plot histograms of d_h, d_x and d_b over all steps and units: one row for each, one colour per gate.

    Args:
        layer: the trace of one sequence.

    Raises:
        ValueError: the trace is of a batch.
        ImportError: matplotlib is not installed.

    Example:
        >>> rnn = hn.HyperLSTM(3, 5)
        >>> figure = plot_scales(hn.trace(rnn, torch.randn(7, 3)).layers[0])
    """
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
    """Check that the values over time are of one sequence, and move them to the CPU."""
    if not isinstance(values, Tensor) or values.dim() != dims:
        raise ValueError("a plot shows one sequence: trace an input of shape (time, input_size)")
    return values.cpu()


def _visible(letter: str) -> str:
    """A character as a label: a sign for newline and space, and an escaped $, which would start a formula."""
    return {"\n": "↵", " ": "·", "$": r"\$"}.get(letter, letter)
