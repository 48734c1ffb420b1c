"""The paper's initialisation, rule by rule, and what its zero P does to the rank of D."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .families import HYPER_FAMILIES, H, I, K, Z, all_families, hyper_families

SIZES = [(3, 5), (7, 5), (1, 1)]


def fresh(family, input_size=I, hidden_size=H, dtype=torch.float64, **others):
    """A cell as the constructor leaves it."""
    return family.cell_type(input_size, hidden_size, dtype=dtype, **family.options | others)


def blocks_of(cell):
    """Every matrix of the main and the hyper cell with the size of its blocks and the squared length of their rows."""
    main = getattr(cell, "main", cell)
    H, gain = main.hidden_size, 1 / Z if getattr(cell, "generation", "") == "full" else 1.0
    found = [(block, gain) for W in (main.weight_x, main.weight_h) for block in W.flatten(0, -2).split(H)]
    if hasattr(cell, "hyper"):
        lstm = cell.hyper.lstm
        found += [(block, 1.0) for W in (lstm.weight_x, lstm.weight_h) for block in W.split(K)]
    return found


def check_orthogonal(W, gain, tol):
    """The rows are orthogonal, or, where there are more of them than columns, the columns."""
    W = W.double()
    product = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
    assert (product - gain * torch.eye(len(product))).abs().max() < tol


@pytest.mark.parametrize(("input_size", "hidden_size"), SIZES)
@all_families
def test_every_gate_is_orthogonal_by_itself(family, input_size, hidden_size):
    cell = fresh(family, input_size, hidden_size)
    found = blocks_of(cell)
    for W, gain in found:
        check_orthogonal(W, gain, 1e-12)
    if hidden_size > 1:
        assert len({tuple(W.flatten().tolist()) for W, _ in found}) == len(found)


@all_families
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_half_precision_is_made_like_any_other(family, dtype, tol):
    network = family.network_type(I, H, 2, dtype=dtype, **family.options)
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}
    for cell in network.cells:
        for W, gain in blocks_of(cell):
            check_orthogonal(W, gain, tol)


def check_lstm(cell):
    """Zeros but for the forget gate's 1, in the norm's shift where there is one, else in b."""
    forget = torch.zeros(4, cell.hidden_size, dtype=torch.float64)
    forget[1] = 1
    if cell.norm is None:
        assert torch.equal(cell.bias, forget.flatten())
        return
    assert not cell.bias.any()
    assert torch.equal(cell.norm.shift, forget)
    assert torch.equal(cell.norm.gain, torch.ones_like(forget))
    assert not cell.cell_norm.shift.any()
    assert (cell.cell_norm.gain == 1).all()


@all_families
def test_biases_and_shifts_are_zero_but_the_forget_and_transform_gates(family):
    cell = fresh(family)
    main = getattr(cell, "main", cell)
    if hasattr(cell, "hyper"):
        check_lstm(cell.hyper.lstm)
    if hasattr(main, "cell_norm"):
        check_lstm(main)
    elif hasattr(main, "depth"):
        for bias in main.bias:
            assert bias.tolist() == [0.0] * H + [-2.0] * H
    else:
        assert not main.bias.any()
        assert not hasattr(main, "bias_h") or not main.bias_h.any()
        if main.norm is not None:
            assert not main.norm.shift.any()
            assert (main.norm.gain == 1).all()


@pytest.mark.parametrize(
    "network", [hn.RHN(I, H, depth=2, transform_bias=-4.0), hn.HyperRHN(I, H, transform_bias=-4.0)]
)
def test_the_transform_bias_is_as_asked(network):
    bias = getattr(network.cell(0), "main", network.cell(0)).bias
    assert (bias[:, H:] == -4).all()
    assert not bias[:, :H].any()


def test_an_lstm_without_bias_has_none():
    assert {name for name, _ in hn.LSTM(I, H, bias=False).named_parameters()} == {
        "cells.0.weight_x",
        "cells.0.weight_h",
    }


@pytest.mark.parametrize("init", ["default", "paper"])
@hyper_families
def test_embeddings_start_as_the_scheme_says(family, init):
    hyper = fresh(family, hyper_size=64, hyper_embedding_size=64, init=init).hyper
    scaled = hyper.blocks.h + hyper.blocks.x
    assert (hyper.p == 1).all()
    random = hyper.P[scaled:] if init == "paper" else hyper.P
    # the standard deviation of each block of 64·64 numbers, within five of its own standard errors
    deviation = (random**2).mean((1, 2)) ** 0.5
    assert (deviation / 0.01 - 1).abs().max() < 5 / (2 * 64 * 64) ** 0.5
    assert hyper.P[:scaled].any() == (init == "default")


@hyper_families
def test_every_scale_starts_near_a_tenth_and_every_shift_at_zero(family):
    cell = fresh(family, hyper_size=128, hyper_embedding_size=16)
    x = torch.randn(50, I, dtype=torch.float64)
    _, state = cell(x, cell(x)[1])
    hyper, blocks = cell.hyper, cell.hyper.blocks
    scaled = blocks.h + blocks.x
    z = torch.einsum("azk,bk->abz", hyper.P, state.hyper_h)
    z[:scaled] += hyper.p[:, None]
    assert state.hyper_h.abs().mean() > 0.01
    assert 0 < (z[:scaled] - 1).abs().max() < 0.6
    if family.options.get("generation") == "full":
        assert not hyper.D.any()
        return
    d = torch.einsum("ahz,abz->abh", hyper.D, z)
    assert 0 < (d[:scaled] - 0.1).abs().max() < 0.03
    assert not d[scaled:].any()


def ratio_after_learning(init):
    """Second singular value over the first of every D_h and D_x, after 60 Adam steps on recalling the last input."""
    rnn = hn.HyperLSTM(4, 6, hyper_size=8, hyper_embedding_size=4, init=init, dtype=torch.float64)
    head = nn.Linear(6, 4, dtype=torch.float64)
    optimiser = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=1e-2)
    x = torch.randn(6, 8, 4, dtype=torch.float64)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (head(rnn(x)[0][1:]) - x[:-1]).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    D = rnn.cell(0).hyper.D.detach()[:8]
    assert ((D - 0.1 / 4).abs().amax((1, 2)) > 0.01).all()
    values = torch.linalg.svdvals(D)
    return values[:, 1] / values[:, 0]


def test_with_zero_projections_the_scale_maps_keep_rank_one_for_ever():
    assert ratio_after_learning("paper").max() < 1e-12


def test_small_random_projections_let_the_rank_grow():
    assert ratio_after_learning("default").min() > 1e-3


def test_families_of_hyper_networks_are_all_of_them():
    assert {family.network_type for family in HYPER_FAMILIES.values()} == {
        hn.HyperLSTM,
        hn.HyperGRU,
        hn.HyperRNN,
        hn.HyperRHN,
    }
