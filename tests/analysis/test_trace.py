"""Traces: equal to the network's own numbers, states that follow from the gates, and the laws of sequences."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import hypernetworks as hn
from hypernetworks.recurrent.native.kernels import library

from ..recurrent.families import HYPER_FAMILIES, H, I, K, Z, close, hyper_families, tensors
from ..recurrent.reference import norm, one_step

T, B = 5, 3


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def over_time(layer):
    """All tensors over time of a layer's trace."""
    series = (
        *layer.state,
        layer.gates,
        layer.z,
        layer.d_h,
        layer.d_x,
        layer.d_b,
        layer.change,
        layer.norm,
        layer.relative,
    )
    return tuple(values for values in series if values is not None)


def check_close(ours, theirs):
    close(ours.output, theirs.output)
    close(ours.state, theirs.state)
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        close(over_time(a), over_time(b))


@pytest.mark.parametrize("path", ["reference", "native"])
@hyper_families
def test_output_and_state_are_the_networks(family, path):
    network, x, state = family.network(num_layers=2, bidirectional=True), random(T, B, I), family.state(4, B)
    with hn.use_backend(path), torch.no_grad():
        output, final = network(x, state)
    trace = hn.trace(network, x, state)
    close(trace.output, output)
    close(trace.state, final)
    assert type(trace.state) is type(final)
    assert [(layer.layer, layer.direction) for layer in trace.layers] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for k, layer in enumerate(trace.layers):
        last = 0 if layer.direction else -1
        close([part[last] for part in layer.state], [part[k] for part in final])
    close(torch.cat([layer.state.h for layer in trace.layers[2:]], dim=-1), output)


@pytest.fixture
def steps(monkeypatch):
    """Counts the steps that steppers take."""
    if library() is None:
        pytest.skip("there are no native kernels here")
    taken, step = [], hn.Stepper.__call__
    monkeypatch.setattr(hn.Stepper, "__call__", lambda self, x: [step(self, x), taken.append(x)][0])
    return taken


@hyper_families
@pytest.mark.parametrize("form", ["batch", "batch first", "one sequence"])
def test_a_stepper_records_what_the_cells_do(family, form, steps):
    network = family.network(num_layers=2, batch_first=form == "batch first")
    x, state = (random(T, I), family.state(2)) if form == "one sequence" else (random(B, T, I), family.state(2, B))
    if form == "batch":
        x = x.transpose(0, 1)
    with hn.use_backend("native"):
        traces = [hn.trace(network, x, state), hn.trace(network, x)]
    assert len(steps) == (0 if family.name == "hyper-rnn-full" else 2 * T)
    with hn.use_backend("reference"):
        for ours, theirs in zip(traces, (hn.trace(network, x, state), hn.trace(network, x)), strict=True):
            check_close(ours, theirs)
            assert type(ours.state) is type(theirs.state)
    assert len(steps) <= 2 * T


def test_the_hooks_of_cells_run(steps):
    network, x, seen = HYPER_FAMILIES["hyper-gru"].network(), random(T, B, I), []
    handle = network.cells[0].register_forward_hook(lambda cell, given, result: seen.append(given[0]))
    with hn.use_backend("native"):
        hooked = hn.trace(network, x)
        assert len(seen) == 1
        assert not steps
        handle.remove()
        check_close(hn.trace(network, x), hooked)
    assert len(steps) == T


@hyper_families
def test_every_state_is_that_of_the_equations(family):
    network, x, state = family.network(), random(T, B, I), family.state(1, B)
    (layer,) = hn.trace(network, x, state).layers
    expected = [part[0] for part in state]
    for t in range(T):
        expected = one_step(family.name, network.cells[0], x[t], expected)
        close([part[t] for part in layer.state], expected)


@hyper_families
def test_states_follow_from_the_gates(family):
    network, x, state = family.network(), random(T, B, I), family.state(1, B)
    (layer,) = hn.trace(network, x, state).layers
    assert layer.gates.shape[2] == layer.change.shape[2] == len(layer.gate_names)
    gates = dict(zip(layer.gate_names, layer.gates.unbind(2), strict=True))
    before = torch.cat([state.h, layer.state.h[:-1]])
    if family.name.startswith("hyper-lstm"):
        c = gates["f"] * torch.cat([state.c, layer.state.c[:-1]]) + gates["i"] * gates["g"]
        close(layer.state.c, c)
        if family.name == "hyper-lstm":
            cell_norm = network.cells[0].main.cell_norm
            c = torch.stack([norm(a, cell_norm.gain, cell_norm.shift) for a in c.flatten(0, 1)]).view_as(c)
        close(layer.state.h, gates["o"] * torch.tanh(c))
    elif family.name.startswith("hyper-gru"):
        assert (gates["r"] > 0).all()
        close(layer.state.h, (1 - gates["u"]) * gates["n"] + gates["u"] * before)
    elif family.name.startswith("hyper-rnn"):
        close(layer.state.h, gates["h"])
    else:
        for l in (1, 2):
            before = gates[f"h{l}"] * gates[f"t{l}"] + before * (1 - gates[f"t{l}"])
        close(layer.state.h, before)


def test_gates_follow_from_the_scaled_weights():
    """HyperLSTM without norm: σ and tanh of diag(d_h) W_h h + diag(d_x) W_x x + d_b + b, with full matrices."""
    network, x = HYPER_FAMILIES["hyper-lstm-without-norm"].network(), random(T, B, I)
    (layer,), main = hn.trace(network, x).layers, network.cells[0].main
    h = torch.cat([torch.zeros(1, B, H, dtype=torch.float64), layer.state.h[:-1]])
    for t in range(T):
        for b in range(B):
            W_h = torch.diag(layer.d_h[t, b].flatten()) @ main.weight_h
            W_x = torch.diag(layer.d_x[t, b].flatten()) @ main.weight_x
            pre = (W_h @ h[t, b] + W_x @ x[t, b] + layer.d_b[t, b].flatten() + main.bias).view(4, H)
            close(layer.gates[t, b], torch.stack([a.tanh() if y == 2 else a.sigmoid() for y, a in enumerate(pre)]))


@hyper_families
def test_change_is_that_of_one_step_to_the_next(family):
    """Of the full matrix: diag(d_h) W_h, or Σ_k z_h[k] W_hz[k]."""
    network, x = family.network(bidirectional=True), random(T, B, I)
    for layer in hn.trace(network, x).layers:
        W = network.cells[layer.direction].main.weight_h.reshape(-1, H, H)
        if layer.d_h is None:
            made = torch.einsum("tbk,kij->tbij", layer.z[:, :, 0], W).unsqueeze(2)
        else:
            made = layer.d_h.unsqueeze(-1) * W
        change = torch.linalg.matrix_norm(made[1:] - made[:-1])
        close(layer.change[:-1] if layer.direction else layer.change[1:], change)


@hyper_families
def test_a_trace_of_the_whole_is_the_traces_of_its_parts(family):
    network, x, state = family.network(num_layers=2), random(T, B, I), family.state(2, B)
    whole = hn.trace(network, x, state)
    for cut in (1, 3):
        first = hn.trace(network, x[:cut], state)
        second = hn.trace(network, x[cut:], first.state)
        close(second.state, whole.state)
        for a, b, layer in zip(first.layers, second.layers, whole.layers, strict=True):
            parts = [torch.cat(both) for both in zip(over_time(a), over_time(b), strict=True)]
            close(parts, over_time(layer))


@hyper_families
def test_permuting_the_batch_permutes_the_trace(family):
    network, x, order = family.network(bidirectional=True), random(T, B, I), torch.tensor([2, 0, 1])
    plain, permuted = hn.trace(network, x), hn.trace(network, x[:, order])
    for a, b in zip(plain.layers, permuted.layers, strict=True):
        close(over_time(b), [values[:, order] for values in over_time(a)])


@hyper_families
def test_packed_sequences_are_traced_as_each_alone(family):
    network = family.network(num_layers=2, bidirectional=True)
    sequences = [random(length, I) for length in (2, 4, 1, 4)]
    packed = hn.trace(network, pack_sequence(sequences, enforce_sorted=False))
    for k, layer in enumerate(packed.layers):
        padded = [pad_packed_sequence(values)[0] for values in over_time(layer)]
        for b, sequence in enumerate(sequences):
            alone = hn.trace(network, sequence)
            close([values[: len(sequence), b] for values in padded], over_time(alone.layers[k]))
            close([part[k, b] for part in packed.state], [part[k] for part in alone.state])


def test_batch_first_only_transposes():
    network, other = (HYPER_FAMILIES["hyper-gru"].network(batch_first=first) for first in (False, True))
    other.load_state_dict(network.state_dict())
    x = random(T, B, I)
    (plain,), (turned,) = hn.trace(network, x).layers, hn.trace(other, x.transpose(0, 1)).layers
    close(over_time(turned), [values.transpose(0, 1) for values in over_time(plain)])


def test_shapes_are_as_documented():
    network = HYPER_FAMILIES["hyper-rhn"].network()  # depth 2: four blocks of h, two of x, four of b
    (layer,) = hn.trace(network, random(T, B, I)).layers
    assert [part.shape[2:] for part in tensors(layer.state)] == [(H,), (K,), (K,)]
    assert [values.shape[2:] for values in over_time(layer)[3:]] == [
        (4, H),
        (10, Z),
        (4, H),
        (2, H),
        (4, H),
        (4,),
        (4,),
        (4,),
    ]
    assert not any(values.requires_grad for values in over_time(layer))


def test_what_is_no_hyper_network_is_refused():
    for module in (hn.LSTM(I, H), torch.nn.LSTM(I, H), hn.HyperLSTMCell(I, H)):
        with pytest.raises(TypeError, match=f"network should be a HyperLSTM.*got {type(module).__name__}"):
            hn.trace(module, torch.zeros(T, B, I))


@pytest.mark.parametrize("settings", [{"dropout": 0.5, "num_layers": 2}, {"recurrent_dropout": 0.5}])
def test_a_network_that_is_dropping_is_refused(settings):
    network, x = hn.HyperLSTM(I, H, **settings), torch.zeros(T, B, I)
    with pytest.raises(ValueError, match=r"network should be in eval\(\)"):
        hn.trace(network, x)
    close(hn.trace(network.eval(), x).output, network(x)[0], 1e-5)


def test_a_wrong_input_is_the_networks_own_error():
    with pytest.raises(ValueError, match=r"input should have shape .* got"):
        hn.trace(hn.HyperLSTM(I, H), torch.zeros(T, B, I + 1))
    with pytest.raises(ValueError, match=r"state\.h should have shape"):
        hn.trace(hn.HyperLSTM(I, H, hyper_size=K), torch.zeros(T, B, I), HYPER_FAMILIES["hyper-lstm"].state(2, B))
