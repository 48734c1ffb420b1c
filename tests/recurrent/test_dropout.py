"""Dropout between layers, and recurrent dropout: what each acts on, how much, and when."""

import math

import pytest
import torch

import hypernetworks as hn

from .families import FAMILIES, H, I, all_families, close, tensors
from .reference import one_step

T, B, P = 40, 8, 0.3


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def spy(monkeypatch, module, method):
    """Record what a method gets and gives."""
    calls, original = [], getattr(module, method)

    def recorded(*args):
        result = original(*args)
        calls.append((args, result))
        return result

    monkeypatch.setattr(module, method, recorded)
    return calls


def is_zero_or_scaled(values, kept, p):
    """Every value is 0 or kept/(1 − p), and so many are 0 as p says, within five standard deviations."""
    zero = values == 0
    torch.testing.assert_close(values, torch.where(zero, torch.zeros_like(kept), kept / (1 - p)), rtol=1e-12, atol=0)
    n = values.numel()
    assert abs(zero.double().mean().item() - p) < 5 * (p * (1 - p) / n) ** 0.5


@all_families
def test_dropout_acts_between_layers_and_nowhere_else(family, monkeypatch):
    network = family.network(num_layers=2, dropout=P)
    lower, upper = family.network(), family.network(input_size=H)
    lower.cells[0].load_state_dict(network.cells[0].state_dict())
    upper.cells[0].load_state_dict(network.cells[1].state_dict())
    calls = spy(monkeypatch, network.cells[1], "project")
    x = random(T, B, I)
    with hn.use_backend("reference"):  # only there is what the upper layer gets seen
        output, _ = network(x)
        middle, _ = lower(x)  # to the last bits: the comparison has no absolute tolerance
    dropped = calls[0][0][0].reshape(T, B, H)
    is_zero_or_scaled(dropped, middle, P)
    close(output, upper(dropped)[0])
    assert not torch.equal(network(x)[0], output)


@all_families
def test_dropout_is_off_in_eval(family):
    network = family.network(num_layers=2, dropout=P, recurrent_dropout=P).eval()
    plain = family.network(num_layers=2)
    plain.load_state_dict(network.state_dict())
    x = random(5, B, I)
    close(network(x)[0], plain(x)[0], 0)
    close(network.cells[0](x[0])[0], plain.cells[0](x[0])[0], 0)


@all_families
def test_all_is_dropped_between_layers_at_one(family):
    network = family.network(num_layers=2, dropout=1.0)
    close(network(random(5, B, I))[0], network(random(5, B, I))[0], 0)


@all_families
def test_dropout_with_one_layer_warns_the_caller(family):
    with pytest.warns(UserWarning, match=r"dropout=0\.5 acts between layers") as warned:
        family.network_type(I, H, dropout=0.5, **family.options)
    assert warned[0].filename == __file__


@all_families
def test_recurrent_dropout_multiplies_the_candidate_alone(family, monkeypatch):
    """The masks that were drawn, put at the candidate of the equations, give the same outputs: nothing else is touched."""
    network = family.network(recurrent_dropout=P, bidirectional=True)
    drawn = [spy(monkeypatch, cell, "dropout_mask") for cell in network.cells]
    steps = 4
    x, state = random(steps, B, I), family.state(2, B)
    output, final = network(x, state)
    for direction, calls in enumerate(drawn):
        [(_, mask)] = calls
        masks, current = mask.reshape(steps, B, -1), [part[direction] for part in tensors(state)]
        for t in range(steps)[:: -1 if direction else 1]:
            current = one_step(family.name, network.cells[direction], x[t], current, masks[t])
            close(output[t, :, direction * H : (direction + 1) * H], current[0])
        close([part[direction] for part in tensors(final)], current)


@all_families
def test_recurrent_masks_are_fresh_for_each_step_cell_and_call(family, monkeypatch):
    network = family.network(recurrent_dropout=P, bidirectional=True)
    drawn = [spy(monkeypatch, cell, "dropout_mask") for cell in network.cells]
    for _ in range(2):
        network(random(T, B, I))
    steps = [step for calls in drawn for _, mask in calls for step in mask.reshape(T, -1)]
    assert len(steps) == 2 * 2 * T
    assert len({tuple(step.tolist()) for step in steps}) == len(steps)
    for calls in drawn:
        is_zero_or_scaled(calls[0][1], torch.ones((), dtype=torch.float64), P)


@all_families
def test_the_same_seed_drops_the_same(family):
    network, x = family.network(num_layers=2, dropout=P, recurrent_dropout=P), random(5, B, I)

    def seeded(seed):
        torch.manual_seed(seed)
        return network(x)[0]

    assert torch.equal(seeded(1), seeded(1))
    assert not torch.equal(seeded(1), seeded(2))
    cell = network.cells[0]
    assert not torch.equal(cell(x[0])[0], cell(x[0])[0])


@pytest.mark.parametrize("name", ["lstm", "layer-norm-lstm", "hyper-lstm", "hyper-lstm-without-norm"])
def test_no_memory_is_lost_where_a_forget_gate_says_keep(name):
    """f = i = 1 and tanh g = a: every step adds 0 or a/(1 − p) to c, and what stands in c stays, even at p = 0.95."""
    family, p, a = FAMILIES[name], 0.95, 0.25
    cell = family.cell(recurrent_dropout=p)
    main = getattr(cell, "main", cell)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        gates = torch.tensor([50.0, 50.0, math.atanh(a), 50.0], dtype=torch.float64)
        target = main.bias if main.norm is None else main.norm.shift
        target.copy_(gates.repeat_interleave(H).view_as(target))
    state, share = family.state(400), 0
    for step in range(1, 30):
        before = state.c
        _, state = cell(random(400, I), state)
        added = state.c - before
        close(added, torch.where(added == 0, 0.0, torch.tensor(a / (1 - p), dtype=torch.float64)), 1e-12)
        share += (added != 0).double().mean().item()
        assert abs(share / step - (1 - p)) < 5 * (p * (1 - p) / (400 * H * step)) ** 0.5
