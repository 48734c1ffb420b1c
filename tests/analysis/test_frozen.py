"""Scales frozen at their mean: a plain network with scaled rows, and the mean of what was generated."""

import pytest
import torch

import hypernetworks as hn
from hypernetworks.analysis.frozen import freeze_scales, mean_hyper_states
from hypernetworks.recurrent.families import FAMILIES

HYPER = [family for family in FAMILIES.values() if family.is_hyper]


def random_network(family, **settings):
    sizes = {"hyper_size": 4, "hyper_embedding_size": 2} | ({"depth": 2} if "depth" in family.takes else {})
    network = family.make(3, 5, **sizes, **settings).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return network


@pytest.mark.parametrize("family", HYPER, ids=lambda family: family.name)
def test_the_frozen_scales_are_the_mean_of_the_moving_ones(family):
    network, x = random_network(family, num_layers=2), torch.randn(11, 4, 3, dtype=torch.float64)
    moving = hn.trace(network, x).layers
    freeze_scales(network, mean_hyper_states(network, x.split(4)))
    for before, after, cell in zip(moving, hn.trace(network, x).layers, network.cells, strict=True):
        for name in ("d_h", "d_x"):
            if getattr(before, name) is not None:
                mean = getattr(before, name).mean((0, 1))
                torch.testing.assert_close(getattr(after, name), mean.expand_as(getattr(after, name)))
        assert after.change.abs().max() < 1e-12
        assert after.d_b.abs().max() == 0  # it is in the bias
        assert cell.hyper.P.abs().max() == 0


@pytest.mark.parametrize("layer_norm", [True, False])
def test_a_frozen_hyper_lstm_is_an_lstm_with_scaled_rows(layer_norm):
    family = FAMILIES["hyper-lstm" if layer_norm else "hyper-lstm-without-norm"]
    network, x = random_network(family), torch.randn(9, 2, 3, dtype=torch.float64)
    (traced,) = hn.trace(network, x).layers
    plain = hn.LSTM(3, 5, layer_norm=layer_norm).double()
    plain.cell(0).load_state_dict(network.cell(0).main.state_dict())
    d_h, d_x, d_b = (getattr(traced, name).mean((0, 1)).reshape(-1, 1) for name in ("d_h", "d_x", "d_b"))
    with torch.no_grad():
        plain.cell(0).weight_h *= d_h
        plain.cell(0).weight_x *= d_x
        plain.cell(0).bias += d_b.squeeze(1)
    freeze_scales(network, mean_hyper_states(network, [x]))
    torch.testing.assert_close(network(x)[0], plain(x)[0], rtol=1e-10, atol=1e-10)
