"""Plots of traces: they show the numbers of the trace."""

import subprocess
import sys

import pytest
import torch

import hypernetworks as hn
from hypernetworks.analysis import plot_embeddings, plot_gates, plot_scales, plot_weight_change
from hypernetworks.analysis.plots import COLUMNS, principal_components

from ..recurrent.families import HYPER_FAMILIES, H, I, close, hyper_families

pytest.importorskip("matplotlib")

T = COLUMNS + 13
TEXT = ("To be,\n$or$ not " * T)[:T]


def traced(family, *shape):
    return hn.trace(family.network(), torch.randn(*shape, I, dtype=torch.float64)).layers[0]


@hyper_families
def test_every_change_is_drawn_below_its_character(family):
    layer = traced(family, T)
    first, second, scale = plot_weight_change(layer, TEXT).axes
    drawn = [torch.from_numpy(axes.images[0].get_array().filled()) for axes in (first, second)]
    percent = 100 * layer.relative
    close(torch.cat(drawn, dim=1).T, percent)
    assert [label.get_text() for label in first.get_xticklabels()][:9] == [
        "T",
        "o",
        "·",
        "b",
        "e",
        ",",
        "↵",
        r"\$",
        "o",
    ]
    assert len(second.get_xticklabels()) == T - COLUMNS
    assert tuple(label.get_text() for label in first.get_yticklabels()) == layer.gate_names
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, percent.max().item())
    assert "in % of $W_h$" in scale.get_xlabel()
    assert scale.get_xlim() == first.images[0].get_clim()


@hyper_families
def test_gates_are_drawn_as_mean_and_band(family):
    layer = traced(family, 20)
    figure = plot_gates(layer)
    assert tuple(axes.get_ylabel() for axes in figure.axes) == layer.gate_names
    for k, axes in enumerate(figure.axes):
        close(torch.tensor(axes.lines[0].get_ydata()), layer.gates[:, k].mean(-1))
        (band,) = axes.collections
        ys = [y for _, y in band.get_paths()[0].vertices]
        bounds = torch.tensor([0.1, 0.9], dtype=torch.float64)
        low, high = layer.gates[:, k].quantile(bounds, dim=-1)
        assert (min(ys), max(ys)) == pytest.approx((low.min().item(), high.max().item()))


@hyper_families
def test_a_point_is_drawn_for_the_embedding_of_each_gate_and_step(family):
    layer = traced(family, 20)
    *panels, _ = plot_embeddings(layer).axes
    assert len(panels) == (1 if layer.d_h is None else layer.d_h.shape[1])
    for k, axes in enumerate(panels):
        points = torch.tensor(axes.collections[0].get_offsets().filled())
        close(torch.cdist(points, points), torch.cdist(layer.z[:, k], layer.z[:, k]))  # Z = 2: nothing is lost


@hyper_families
def test_every_scale_is_counted_once(family):
    layer = traced(family, 20)
    figure = plot_scales(layer)
    made = [scales for scales in (layer.d_h, layer.d_x, layer.d_b) if scales is not None]
    for axes, scales in zip(figure.axes, made, strict=True):
        assert len(axes.patches) == scales.shape[1]
        for k, patch in enumerate(axes.patches):
            xs, ys = torch.tensor(patch.get_xy()).T
            assert (xs.min(), xs.max()) == (scales[:, k].min(), scales[:, k].max())
            # of the outline's points (edge, count before), (edge, count after), every second is a bin
            assert ys[1:-1:2].sum() == 20 * H


def test_principal_components_are_those_of_the_largest_variance():
    z = torch.randn(200, 5, dtype=torch.float64) * torch.tensor([0.1, 3.0, 0.2, 1.0, 0.3], dtype=torch.float64)
    points = principal_components(z)
    close(points.mean(0), torch.zeros(2, dtype=torch.float64))
    largest = torch.linalg.eigvalsh(torch.cov(z.T)).flip(0)[:2]
    close(torch.cov(points.T), torch.diag(largest))
    line = principal_components(z[:, :1])
    assert line.shape == (200, 2)
    assert not line[:, 1].any()
    assert principal_components(z[:1]).tolist() == [[0, 0]]


@pytest.mark.parametrize(
    "plot", [plot_gates, plot_embeddings, plot_scales, lambda layer: plot_weight_change(layer, "")]
)
def test_a_batch_is_refused(plot):
    layer = traced(HYPER_FAMILIES["hyper-lstm"], 4, 2)
    with pytest.raises(ValueError, match=r"a plot shows one sequence: trace an input of shape \(time, input_size\)"):
        plot(layer)


def test_another_text_than_the_traced_is_refused():
    with pytest.raises(ValueError, match="text should have the 4 characters that were traced, got 3"):
        plot_weight_change(traced(HYPER_FAMILIES["hyper-lstm"], 4), "abc")


def test_figures_can_be_written_and_nothing_global_of_matplotlib_is_touched(tmp_path):
    layer = traced(HYPER_FAMILIES["hyper-lstm"], 9)
    for number, figure in enumerate((plot_weight_change(layer, "$a\n $_^\\é"), plot_embeddings(layer))):
        figure.savefig(tmp_path / f"{number}.svg")
        assert "<svg" in (tmp_path / f"{number}.svg").read_text()
    program = (
        "import sys, torch, hypernetworks as hn; from hypernetworks.analysis import plot_scales;"
        "plot_scales(hn.trace(hn.HyperLSTM(2, 3), torch.zeros(4, 2)).layers[0]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
