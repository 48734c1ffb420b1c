"""Every network and every cell against its equations, written out per sample and gate with materialised weights."""

import torch

from .families import I, all_families, close, gradients, random_like, tensors
from .reference import one_step, run

B = 2


@all_families
def test_a_cell_computes_its_equations(family):
    cell, x, state = family.cell(), torch.randn(B, I, dtype=torch.float64), family.state(B)
    h, new = cell(x, state)
    expected = one_step(family.name, cell, x, tensors(state))
    close(h, expected[0])
    close(new, expected)


@all_families
def test_a_network_and_its_gradients_are_those_of_the_equations(family):
    network = family.network(num_layers=2, bidirectional=True)
    x = torch.randn(3, B, I, dtype=torch.float64, requires_grad=True)
    state = tuple(part.requires_grad_() for part in tensors(family.state(4, B)))
    leaves = (x, *state, *network.parameters())
    output, final = network(x, state[0] if family.state_type is None else state)
    expected = run(family.name, network, x, state)
    ours, theirs = (output, *tensors(final)), (expected[0], *expected[1])
    close(ours, theirs)
    cotangents = random_like(ours)
    close(gradients(ours, cotangents, leaves), gradients(theirs, cotangents, leaves))


@all_families
def test_a_state_left_out_is_zeros(family):
    network, cell = family.network(num_layers=2), family.cell()
    x = torch.randn(2, B, I, dtype=torch.float64)
    zeros = [torch.zeros_like(part) for part in tensors(family.state(2, B))]
    output, final = network(x)
    expected, expected_final = run(family.name, network, x, zeros)
    close((output, *tensors(final)), (expected, *expected_final))
    close(cell(x[0])[1], one_step(family.name, cell, x[0], [part[0] for part in zeros]))
