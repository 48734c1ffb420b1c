"""What code for torch.nn.LSTM, GRU and RNN relies on: state_dicts, hx, all_weights, two biases, tools."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import hypernetworks as hn
from hypernetworks.recurrent.native.kernels import library

from .families import FAMILIES, tensors

I, H, B, T = 3, 5, 4, 6
KINDS = {"lstm": (hn.LSTM, nn.LSTM), "gru": (hn.GRU, nn.GRU), "rnn": (hn.RNN, nn.RNN)}
all_kinds = pytest.mark.parametrize("kind", KINDS)
all_families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def pair(kind, **settings):
    ours, theirs = (kinds(I, H, 2, dtype=torch.float64, **settings) for kinds in KINDS[kind])
    return ours, theirs


def close(ours, theirs):
    x = torch.randn(T, B, I, dtype=torch.float64)
    (a, state_a), (b, state_b) = ours(x), theirs(x)
    for mine, torchs in zip((a, *tensors(state_a)), (b, *tensors(state_b)), strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "settings", [{}, {"bias": False}, {"bidirectional": True}], ids=["plain", "no bias", "both ways"]
)
@all_kinds
def test_torchs_state_dict_is_loaded(kind, settings):
    ours, theirs = pair(kind, **settings)
    given = theirs.state_dict()
    before = dict(given)
    assert str(ours.load_state_dict(given)) == "<All keys matched successfully>"
    close(ours, theirs)
    assert list(given) == list(before)
    assert all(given[name] is tensor for name, tensor in before.items())
    for cell, weights in zip(ours.cells, theirs.all_weights, strict=True):
        assert torch.equal(cell.weight_x, weights[0])
        assert torch.equal(cell.weight_h, weights[1])
    own = ours.state_dict()
    assert ours.load_state_dict(own).missing_keys == []


@all_kinds
def test_it_is_loaded_inside_a_larger_model_and_into_copies(kind):
    ours, theirs = pair(kind)
    model, saved = (nn.ModuleDict({"a": nn.ModuleList([net]), "head": nn.Linear(H, 2)}) for net in (ours, theirs))
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        again.load_state_dict(saved.state_dict())
        close(again["a"][0], theirs)
        assert torch.equal(again["head"].weight, saved["head"].weight)
    model.load_state_dict(saved.state_dict(), assign=True)
    close(model["a"][0], theirs)


@all_kinds
def test_what_does_not_fit_is_named(kind):
    ours, theirs = pair(kind)
    three = KINDS[kind][1](I, H, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*weight_ih_l2"):
        ours.load_state_dict(three.state_dict())
    with pytest.raises(RuntimeError, match=r"size mismatch for cells\.0\.weight_x"):
        ours.load_state_dict(KINDS[kind][1](I + 1, H, 2, dtype=torch.float64).state_dict())
    without = KINDS[kind][0](I, H, 2, bias=False, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*bias_ih_l0"):
        without.load_state_dict(theirs.state_dict())
    half = {name: tensor for name, tensor in theirs.state_dict().items() if name != "bias_hh_l1"}
    with pytest.raises(RuntimeError, match=r"Missing key.*cells\.1\.bias"):
        ours.load_state_dict(half)
    normed = KINDS[kind][0](I, H, 2, layer_norm=True, dtype=torch.float64)
    missing = normed.load_state_dict(theirs.state_dict(), strict=False).missing_keys
    assert missing
    assert all("norm" in name for name in missing)
    assert torch.equal(normed.cell(1).weight_h, theirs.weight_hh_l1)


def test_projections_are_named_as_unexpected():
    with pytest.raises(RuntimeError, match=r"Unexpected key.*weight_hr_l0"):
        hn.LSTM(I, H).load_state_dict(nn.LSTM(I, H, proj_size=2).state_dict())


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"bidirectional": True}])
@all_kinds
def test_all_weights_are_the_parameters_cell_by_cell(kind, settings):
    ours, theirs = pair(kind, **settings)
    assert len(ours.all_weights) == len(theirs.all_weights)
    for mine, torchs in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert [w.shape for w in mine[:2]] == [w.shape for w in torchs[:2]]
        assert mine[2].shape == torchs[2].shape if len(torchs) > 2 else len(mine) == 2
    flat = [weight for weights in ours.all_weights for weight in weights]
    assert all(a is b for a, b in zip(flat, ours.parameters(), strict=True))


@all_families
def test_hx_is_the_state_and_flatten_parameters_does_nothing(family):
    network = family.network()
    network.flatten_parameters()
    x, state = torch.randn(T, B, I, dtype=torch.float64), family.state(1, B)
    assert torch.equal(network(x, hx=state)[0], network(x, state)[0])
    with pytest.raises(TypeError, match="state and hx are two names of one argument"):
        network(x, state, hx=state)


def trained(network, groups, optimizer, steps=12):
    loss = torch.zeros(())
    generator = torch.Generator().manual_seed(7)
    optimizer = optimizer(groups)
    for _ in range(steps):
        x = torch.randn(T, B, I, dtype=torch.float64, generator=generator)
        loss = (network(x)[0] - x.cumsum(0).sum(-1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize(
    "optimizer",
    [lambda g: torch.optim.Adam(g, 1e-2), lambda g: torch.optim.SGD(g, 0.1, momentum=0.9)],
    ids=["adam", "sgd"],
)
@pytest.mark.parametrize("kind", ["lstm", "rnn"])
def test_a_bias_with_twice_the_learning_rate_trains_as_torchs_two(kind, optimizer):
    ours, theirs = pair(kind)
    ours.load_state_dict(theirs.state_dict())
    single = copy.deepcopy(ours)
    lr = optimizer([nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"]
    biases = [cell.bias for cell in ours.cells]
    others = [weight for weights in ours.all_weights for weight in weights[:2]]
    expected = trained(theirs, [{"params": theirs.parameters()}], optimizer)
    found = trained(ours, [{"params": others}, {"params": biases, "lr": 2 * lr}], optimizer)
    assert found == pytest.approx(expected, rel=1e-12)
    assert trained(single, [{"params": single.parameters()}], optimizer) != pytest.approx(expected, rel=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@all_families
def test_jit_script_is_refused_with_the_way_out(family):
    network = family.network()
    for module in (network, nn.Sequential(network), network.cell(0)):
        with pytest.raises(TypeError, match=r"torch\.jit\.script does not serve .*: use torch\.export\.export"):
            torch.jit.script(module)


@pytest.mark.parametrize("frozen", [False, True], ids=["weights", "frozen"])
@pytest.mark.parametrize("need_input", [False, True], ids=["data", "input"])
@all_families
def test_flops_of_every_path_are_those_of_the_reference(family, need_input, frozen):
    network = family.network().requires_grad_(not frozen)
    counts = []
    for backend in ("reference", "auto"):
        x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=need_input)
        state = network.cell(0).named_state([s.detach().requires_grad_() for s in tensors(family.state(1, B))])
        with hn.use_backend(backend), FlopCounterMode(display=False) as counter:
            output, _ = network(x, state)
            forward = counter.get_total_flops()
            output.sum().backward()
        counts.append((forward, counter.get_total_flops()))
    if network.cell(0).native_parameters() is not None and library() is not None:
        assert all("hypernetworks" in str(operator) for operator in counter.get_flop_counts()["Global"])
    assert counts[0] == counts[1]
    assert 0 < counts[0][0] < counts[0][1]
