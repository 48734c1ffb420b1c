"""hn.LSTM, hn.GRU and hn.RNN against torch.nn's, with the same weights: outputs, state and every gradient."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import hypernetworks as hn
from hypernetworks.interop import (
    gru_from_torch,
    gru_to_torch,
    lstm_from_torch,
    lstm_to_torch,
    rnn_from_torch,
    rnn_to_torch,
)

I, H, B, T = 3, 5, 4, 6
TOL = 1e-12
KINDS = {
    "lstm": (hn.LSTM, nn.LSTM, lstm_from_torch, lstm_to_torch),
    "gru": (hn.GRU, nn.GRU, gru_from_torch, gru_to_torch),
    "rnn": (hn.RNN, nn.RNN, rnn_from_torch, rnn_to_torch),
}
all_kinds = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


def close(a, b):
    assert a.shape == b.shape
    assert (a - b).abs().max().item() <= TOL * max(1.0, b.abs().max().item())


def from_torch(theirs):
    return next(take for _, kind, take, _ in KINDS.values() if isinstance(theirs, kind))(theirs)


def torch_network(kind, num_layers=1, **kwargs):
    return KINDS[kind][1](I, H, num_layers, dtype=torch.float64, **kwargs)


def random_state(network, *batch):
    """(h, c) of an LSTM, (h,) of the others."""
    k = network.num_layers * (2 if network.bidirectional else 1)
    parts = 2 if isinstance(network, nn.LSTM) else 1
    return tuple(torch.randn(k, *batch, H, dtype=torch.float64, requires_grad=True) for _ in range(parts))


def tensors(state):
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


def data(output):
    return output.data if isinstance(output, PackedSequence) else output


def check_same(theirs, x, leaf, state):
    """Outputs, state, and the gradients of a random combination of them: `leaf` is what x is made of."""
    ours = from_torch(theirs)
    initial = () if state is None else state
    results, found = [], []
    cotangents = None
    for network in (ours, theirs):
        output, final = network(x, state if state is None or len(state) == 2 else state[0])
        results.append((data(output), *tensors(final)))
        if cotangents is None:
            cotangents = [torch.randn_like(part) for part in results[0]]
        leaves = (leaf, *initial, *network.parameters())
        found.append(torch.autograd.grad(results[-1], leaves, cotangents, retain_graph=True))
    for a, b in zip(*results, strict=True):
        close(a, b)
    inputs = 1 + len(initial)
    for a, b in zip(found[0][:inputs], found[1][:inputs], strict=True):
        close(a, b)
    by_name = dict(zip([name for name, _ in theirs.named_parameters()], found[1][inputs:], strict=True))
    our_gradients = dict(zip([name for name, _ in ours.named_parameters()], found[0][inputs:], strict=True))
    for k in range(len(ours.cells)):
        layer, reverse = (k // 2, "_reverse" * (k % 2)) if theirs.bidirectional else (k, "")
        close(our_gradients.pop(f"cells.{k}.weight_x"), by_name[f"weight_ih_l{layer}{reverse}"])
        close(our_gradients.pop(f"cells.{k}.weight_h"), by_name[f"weight_hh_l{layer}{reverse}"])
        if theirs.bias:
            bias = our_gradients.pop(f"cells.{k}.bias")
            close(bias, by_name[f"bias_ih_l{layer}{reverse}"])
            bias_h = by_name[f"bias_hh_l{layer}{reverse}"]
            if isinstance(theirs, nn.GRU):
                close(our_gradients.pop(f"cells.{k}.bias_h"), bias_h[2 * H :])
                bias, bias_h = bias[: 2 * H], bias_h[: 2 * H]
            close(bias, bias_h)
    assert not our_gradients
    return ours


@pytest.mark.parametrize("carried", [False, True], ids=["zeros", "carried"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time-first", "batch-first"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both-ways"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@all_kinds
def test_padded_batches_agree(kind, layers, bidirectional, batch_first, bias, carried):
    theirs = torch_network(kind, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    state = random_state(theirs, B) if carried else None
    ours = check_same(theirs, x.transpose(0, 1) if batch_first else x, x, state)
    assert len(list(ours.parameters())) == (2 + bias * (2 if kind == "gru" else 1)) * len(ours.cells)


@pytest.mark.parametrize("carried", [False, True], ids=["zeros", "carried"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both-ways"])
@all_kinds
def test_one_sequence_without_a_batch_agrees(kind, bidirectional, carried):
    theirs = torch_network(kind, 2, bidirectional=bidirectional, batch_first=True)
    x = torch.randn(T, I, dtype=torch.float64, requires_grad=True)
    check_same(theirs, x, x, random_state(theirs) if carried else None)


@pytest.mark.parametrize("carried", [False, True], ids=["zeros", "carried"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both-ways"])
@pytest.mark.parametrize(
    ("lengths", "enforce_sorted"),
    [
        ([6, 4, 4, 1], True),
        ([6, 4, 4, 1], False),
        ([2, 6, 1, 3], False),
        ([1, 1, 1], True),
        ([1, 1, 1], False),
        ([5], True),
    ],
)
@all_kinds
def test_packed_sequences_agree(kind, lengths, enforce_sorted, bidirectional, carried):
    theirs = torch_network(kind, 2, bidirectional=bidirectional)
    leaf = torch.randn(sum(lengths), I, dtype=torch.float64, requires_grad=True)
    packed = pack_sequence(leaf.split(lengths), enforce_sorted)
    state = random_state(theirs, len(lengths)) if carried else None
    ours = check_same(theirs, packed, leaf, state)
    output, expected = ours(packed)[0], theirs(packed)[0]
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        a, b = getattr(output, field), getattr(expected, field)
        assert (a is None and b is None) or torch.equal(a, b)


@all_kinds
def test_a_batch_of_no_sequences_agrees(kind):
    theirs = torch_network(kind, 2, bidirectional=True)
    x = torch.randn(T, 0, I, dtype=torch.float64)
    (output, state), (expected, expected_state) = from_torch(theirs)(x), theirs(x)
    assert output.shape == expected.shape == (T, 0, 2 * H)
    assert [part.shape for part in tensors(state)] == [part.shape for part in tensors(expected_state)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@all_kinds
def test_settings_are_taken_over_both_ways(kind, dtype, training):
    _, torchs, take, give = KINDS[kind]
    settings = {"bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True}
    first = torchs(I, H, 2, **settings, dtype=dtype).train(training)
    ours = take(first)
    again = give(ours)
    names = ("input_size", "hidden_size", "num_layers", "batch_first", "dropout", "bidirectional", "training")
    for name in names:
        assert getattr(first, name) == getattr(ours, name) == getattr(again, name), name
    assert not again.bias
    assert {p.dtype for network in (ours, again) for p in network.parameters()} == {dtype}
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("bias", [False, True])
@all_kinds
def test_there_and_back_again_computes_the_same(kind, bias):
    mine, _, take, give = KINDS[kind]
    ours = mine(I, H, 2, bias=bias, bidirectional=True, dtype=torch.float64)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs = give(ours)
    back = take(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), back.parameters(), strict=True))
    x = torch.randn(T, B, I, dtype=torch.float64)
    (output, state), (expected, expected_state) = ours(x), theirs(x)
    for a, b in zip((output, *tensors(state)), (expected, *tensors(expected_state)), strict=True):
        close(a, b)


@all_kinds
def test_the_copy_shares_no_memory(kind):
    theirs = torch_network(kind)
    ours = from_torch(theirs)
    back = KINDS[kind][3](ours)
    kept = ours.cell(0).weight_x.detach().clone()
    with torch.no_grad():
        theirs.weight_ih_l0.add_(1)
        back.weight_ih_l0.add_(1)
    assert torch.equal(ours.cell(0).weight_x, kept)
    assert all(p.requires_grad for p in (*ours.parameters(), *back.parameters()))


def test_what_cannot_be_converted_says_why():
    with pytest.raises(TypeError, match=r"lstm should be a torch\.nn\.LSTM, got GRU"):
        lstm_from_torch(nn.GRU(I, H))
    with pytest.raises(TypeError, match=r"gru should be a torch\.nn\.GRU, got LSTM"):
        gru_from_torch(nn.LSTM(I, H))
    with pytest.raises(TypeError, match=r"rnn should be a torch\.nn\.RNN, got GRU"):
        rnn_from_torch(nn.GRU(I, H))
    with pytest.raises(ValueError, match=r"proj_size should be 0.*got 2"):
        lstm_from_torch(nn.LSTM(I, H, proj_size=2))
    with pytest.raises(ValueError, match=r"nonlinearity should be 'tanh'.*got 'relu'"):
        rnn_from_torch(nn.RNN(I, H, nonlinearity="relu"))


@all_kinds
def test_what_cannot_be_given_back_says_why(kind):
    mine, torchs, _, give = KINDS[kind]
    with pytest.raises(TypeError, match=rf"{kind} should be a hypernetworks\.{mine.__name__}, got {torchs.__name__}"):
        give(torchs(I, H))
    with pytest.raises(ValueError, match="layer_norm=True"):
        give(mine(I, H, layer_norm=True))
    with pytest.raises(ValueError, match=r"recurrent_dropout=0\.5"):
        give(mine(I, H, recurrent_dropout=0.5))
    partly = mine(I, H, 2)
    partly.cell(1).recurrent_dropout = 0.5
    with pytest.raises(ValueError, match=r"recurrent_dropout=0\.5"):
        give(partly)


@pytest.mark.parametrize(
    ("kind", "arguments"), [("lstm", ()), ("gru", ()), ("rnn", ("tanh",))], ids=["lstm", "gru", "rnn"]
)
def test_arguments_stand_where_torchs_stand(kind, arguments):
    mine, torchs, *_ = KINDS[kind]
    given = (3, 5, 2, *arguments, False, True, 0.25, True)
    ours, theirs = mine(*given).eval(), torchs(*given)
    for name in ("num_layers", "bias", "batch_first", "dropout", "bidirectional"):
        assert getattr(ours, name) == getattr(theirs, name), name
    x, state = torch.randn(2, 4, 3), ours(torch.randn(2, 4, 3))[1]
    torch.testing.assert_close(ours(x, hx=state)[0], ours(x, state)[0])


@all_kinds
def test_code_written_for_torchs_runs_with_ours(kind):
    mine, torchs, *_ = KINDS[kind]

    class Tagger(nn.Module):
        def __init__(self, kind):
            super().__init__()
            self.rnn = kind(3, 5, 2, bias=True, batch_first=True, dropout=0.0, bidirectional=True)

        def forward(self, x):
            self.rnn.flatten_parameters()
            output, state = self.rnn(x)
            return output, *tensors(state)

    x = torch.randn(2, 4, 3)
    theirs, ours = Tagger(torchs), Tagger(mine)
    ours.rnn = from_torch(theirs.rnn)
    for a, b in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(a, b)
