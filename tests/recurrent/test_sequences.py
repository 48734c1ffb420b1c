"""Laws that hold for every network: how a sequence is cut, padded, ordered or laid out changes nothing."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from .families import FAMILIES, H, I, all_families, close, tensors

T, B = 6, 3
few = settings(max_examples=25)
any_family = st.sampled_from(list(FAMILIES.values()))


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def like_given(family, parts):
    """A state of the type that the family takes."""
    return parts[0] if family.state_type is None else family.state_type(*parts)


@all_families
def test_every_cut_carried_on_equals_the_whole(family):
    network, x, state = family.network(num_layers=2), random(T, B, I), family.state(2, B)
    whole, final = network(x, state)
    for cut in range(1, T):
        first, carried = network(x[:cut], state)
        second, last = network(x[cut:], carried)
        close(torch.cat([first, second]), whole)
        close(last, final)


@few
@given(family=any_family, sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_chunks_of_any_sizes_equal_the_whole(family, sizes, seed):
    torch.manual_seed(seed)
    network, x, state = family.network(), random(sum(sizes), B, I), family.state(1, B)
    whole, final = network(x, state)
    outputs = []
    for chunk in x.split(sizes):
        output, state = network(chunk, state)
        outputs.append(output)
    close(torch.cat(outputs), whole)
    close(state, final)


def check_packed(family, lengths, enforce_sorted):
    """Each sequence alone, from its own state, equals its place in the packed batch, both ways."""
    network = family.network(num_layers=2, bidirectional=True)
    sequences = [random(length, I) for length in lengths]
    state = family.state(4, len(lengths))
    output, final = network(pack_sequence(sequences, enforce_sorted), state)
    padded, found = pad_packed_sequence(output)
    assert found.tolist() == lengths
    for b, sequence in enumerate(sequences):
        alone, last = network(sequence, like_given(family, [part[:, b] for part in tensors(state)]))
        close(padded[: lengths[b], b], alone)
        close([part[:, b] for part in tensors(final)], last)


@all_families
def test_packed_equals_each_sequence_alone(family):
    check_packed(family, [2, 5, 1, 5], enforce_sorted=False)
    check_packed(family, [4, 2, 2], enforce_sorted=True)


@few
@given(family=any_family, lengths=st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_packed_lengths_of_any_order_are_kept_apart(family, lengths):
    check_packed(family, lengths, enforce_sorted=False)


@all_families
def test_packed_from_the_zero_state_equals_each_sequence_alone(family):
    network = family.network(bidirectional=True)
    sequences = [random(length, I) for length in (1, 4, 3)]
    output, final = network(pack_sequence(sequences, enforce_sorted=False))
    padded, _ = pad_packed_sequence(output)
    for b, sequence in enumerate(sequences):
        alone, last = network(sequence)
        close(padded[: len(sequence), b], alone)
        close([part[:, b] for part in tensors(final)], last)


@all_families
def test_permuting_the_batch_permutes_the_output(family):
    network, x, state = family.network(num_layers=2, bidirectional=True), random(T, 5, I), family.state(4, 5)
    order = torch.tensor([3, 0, 4, 1, 2])
    output, final = network(x, state)
    permuted, last = network(x[:, order], like_given(family, [part[:, order] for part in tensors(state)]))
    close(permuted, output[:, order])
    close(last, [part[:, order] for part in tensors(final)])


@all_families
def test_batch_first_only_transposes(family):
    network, other = (family.network(num_layers=2, bidirectional=True, batch_first=first) for first in (False, True))
    other.load_state_dict(network.state_dict())
    x, state = random(T, B, I), family.state(4, B)
    output, final = network(x, state)
    transposed, last = other(x.transpose(0, 1), state)
    close(transposed, output.transpose(0, 1))
    close(last, final)


@all_families
def test_one_sequence_equals_a_batch_of_one(family):
    network, x, state = family.network(num_layers=2, batch_first=True), random(T, I), family.state(2)
    output, final = network(x, state)
    batched, last = network(x.unsqueeze(0), like_given(family, [part.unsqueeze(1) for part in tensors(state)]))
    close(output, batched[0])
    close(final, [part[:, 0] for part in tensors(last)])
    cell, one = network.cells[0], family.state()
    h, new = cell(x[0], one)
    rows, many = cell(x[:1], like_given(family, [part.unsqueeze(0) for part in tensors(one)]))
    close(h, rows[0])
    close(new, [part[0] for part in tensors(many)])


@all_families
def test_one_layer_equals_its_cell_in_a_loop(family):
    network, cell = family.network(), family.cell()
    cell.load_state_dict(network.cells[0].state_dict())
    x, state = random(T, B, I), family.state(1, B)
    output, final = network(x, state)
    looped = like_given(family, [part[0] for part in tensors(state)])
    for t in range(T):
        h, looped = cell(x[t], looped)
        close(h, output[t])
    close(looped, [part[0] for part in tensors(final)])


@all_families
def test_the_backward_half_equals_a_forward_network_on_the_flipped_sequence(family):
    both, forward = family.network(bidirectional=True), family.network()
    forward.cells[0].load_state_dict(both.cells[1].state_dict())
    x, state = random(T, B, I), family.state(2, B)
    output, final = both(x, state)
    flipped, last = forward(x.flip(0), like_given(family, [part[1:] for part in tensors(state)]))
    close(output[..., H:], flipped.flip(0))
    close([part[1:] for part in tensors(final)], last)


@all_families
def test_two_layers_equal_one_upon_the_other(family):
    network, lower, upper = family.network(num_layers=2), family.network(), family.network(input_size=H)
    lower.cells[0].load_state_dict(network.cells[0].state_dict())
    upper.cells[0].load_state_dict(network.cells[1].state_dict())
    x, state = random(T, B, I), family.state(2, B)
    output, final = network(x, state)
    middle, first = lower(x, like_given(family, [part[:1] for part in tensors(state)]))
    top, second = upper(middle, like_given(family, [part[1:] for part in tensors(state)]))
    close(output, top)
    close(final, [torch.cat(parts) for parts in zip(tensors(first), tensors(second), strict=True)])


@all_families
def test_a_batch_of_no_sequences_has_shapes_and_gradients(family):
    network = family.network(num_layers=2, bidirectional=True)
    x = random(T, 0, I).requires_grad_()
    output, final = network(x)
    assert output.shape == (T, 0, 2 * H)
    assert [part.shape for part in tensors(final)] == [part.shape for part in tensors(family.state(4, 0))]
    output.sum().backward()
    assert x.grad.shape == x.shape
    assert all(not parameter.grad.any() for parameter in network.parameters())
