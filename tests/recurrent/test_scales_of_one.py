"""A hyper network whose scales are all 1 and whose shifts are all 0 is the plain network."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .families import H, I, K, Z, close, gradients, random_like, randomise

HYPER = {"hyper_size": K, "hyper_embedding_size": Z, "dtype": torch.float64}
PLAIN = HYPER | {"layer_norm": False}
T, B, LAYERS = 5, 3, 2


@torch.no_grad()
def with_scales_of_one(network):
    """P = 0 and p = 1, so z = 1; D = 1/Z for h and x, so d = 1; D_b = 0. Everything else is random."""
    for cell in randomise(network).cells:
        hyper = cell.hyper
        hyper.P.zero_()
        hyper.p.fill_(1.0)
        hyper.D.fill_(1 / Z)
        hyper.D[-hyper.blocks.b :].zero_()
    return network


@torch.no_grad()
def fill(theirs, k, weight_x, weight_h, bias_x, bias_h=None):
    layer, reverse = k // 2, "_reverse" * (k % 2)
    theirs.get_parameter(f"weight_ih_l{layer}{reverse}").copy_(weight_x)
    theirs.get_parameter(f"weight_hh_l{layer}{reverse}").copy_(weight_h)
    theirs.get_parameter(f"bias_ih_l{layer}{reverse}").copy_(bias_x)
    theirs.get_parameter(f"bias_hh_l{layer}{reverse}").copy_(torch.zeros_like(bias_x) if bias_h is None else bias_h)


def check_equal(hyper, plain, states):
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    state = hyper.cells[0].zero_state(x, 2 * LAYERS, B)
    state = [torch.randn_like(part) for part in state]
    output, final = hyper(x, tuple(state))
    expected, expected_final = plain(x, state[0] if states == 1 else tuple(state[:states]))
    expected_final = (expected_final,) if states == 1 else expected_final
    ours, theirs = (output, *final[:states]), (expected, *expected_final)
    close(ours, theirs, 1e-12)
    cotangents = random_like(ours)
    close(gradients(ours, cotangents, x), gradients(theirs, cotangents, x), 1e-12)


def test_hyper_lstm_is_then_torch_lstm():
    hyper = with_scales_of_one(hn.HyperLSTM(I, H, LAYERS, bidirectional=True, **PLAIN))
    theirs = nn.LSTM(I, H, LAYERS, bidirectional=True, dtype=torch.float64)
    for k, cell in enumerate(hyper.cells):
        fill(theirs, k, cell.main.weight_x, cell.main.weight_h, cell.main.bias)
    check_equal(hyper, theirs, 2)


def test_hyper_gru_is_then_torch_gru():
    hyper = with_scales_of_one(hn.HyperGRU(I, H, LAYERS, bidirectional=True, **PLAIN))
    theirs = nn.GRU(I, H, LAYERS, bidirectional=True, dtype=torch.float64)
    for k, cell in enumerate(hyper.cells):
        # of torch's b_hr, b_hz and b_hn only the last cannot be merged with b_i
        bias_h = torch.cat([torch.zeros(2 * H, dtype=torch.float64), cell.main.bias_h])
        fill(theirs, k, cell.main.weight_x, cell.main.weight_h, cell.main.bias, bias_h)
    check_equal(hyper, theirs, 1)


def test_hyper_rnn_is_then_torch_rnn():
    hyper = with_scales_of_one(hn.HyperRNN(I, H, LAYERS, bidirectional=True, **PLAIN))
    theirs = nn.RNN(I, H, LAYERS, bidirectional=True, dtype=torch.float64)
    for k, cell in enumerate(hyper.cells):
        fill(theirs, k, cell.main.weight_x, cell.main.weight_h, cell.main.bias)
    check_equal(hyper, theirs, 1)


def test_hyper_rnn_of_whole_matrices_is_then_torch_rnn_with_their_sum():
    hyper = with_scales_of_one(hn.HyperRNN(I, H, LAYERS, bidirectional=True, generation="full", **PLAIN))
    theirs = nn.RNN(I, H, LAYERS, bidirectional=True, dtype=torch.float64)
    for k, cell in enumerate(hyper.cells):
        W_x, W_h = (W.unflatten(0, (Z, H)).sum(0) for W in (cell.main.weight_x, cell.main.weight_h))
        fill(theirs, k, W_x, W_h, cell.main.bias)
    check_equal(hyper, theirs, 1)


def test_hyper_lstm_with_norm_is_then_the_layer_norm_lstm():
    hyper = with_scales_of_one(hn.HyperLSTM(I, H, LAYERS, bidirectional=True, **HYPER))
    plain = hn.LSTM(I, H, LAYERS, bidirectional=True, layer_norm=True, dtype=torch.float64)
    for ours, cell in zip(plain.cells, hyper.cells, strict=True):
        ours.load_state_dict(cell.main.state_dict())
    check_equal(hyper, plain, 2)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("layer_norm", [False, True], ids=["plain", "norm"])
def test_hyper_rhn_is_then_the_rhn(depth, layer_norm):
    hyper = hn.HyperRHN(I, H, LAYERS, bidirectional=True, depth=depth, layer_norm=layer_norm, **HYPER)
    plain = hn.RHN(I, H, LAYERS, bidirectional=True, depth=depth, dtype=torch.float64)
    for ours, cell in zip(plain.cells, with_scales_of_one(hyper).cells, strict=True):
        ours.load_state_dict(cell.main.state_dict())
    check_equal(hyper, plain, 1)
