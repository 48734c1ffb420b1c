"""What a user of PyTorch expects of any module: dtypes, devices, copies, saving, gradients, transforms."""

import copy
import io
import pickle
from functools import partial

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import hypernetworks as hn

from .families import H, I, all_families, close, tensors

T, B = 3, 2


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


@all_families
@pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2), (torch.float16, 0.03)])
def test_the_output_has_the_dtype_of_the_parameters(family, dtype, tol):
    exact = family.network(num_layers=2, bidirectional=True)
    network = copy.deepcopy(exact).to(dtype)
    x, state = random(T, B, I), family.state(4, B)
    low = state.to(dtype) if family.state_type is None else family.state_type(*(part.to(dtype) for part in state))
    output, final = network(x.to(dtype), low)
    assert {part.dtype for part in (output, *tensors(final))} == {dtype}
    expected, expected_final = exact(x, state)
    close([part.double() for part in (output, *tensors(final))], (expected, *tensors(expected_final)), tol)
    assert tensors(network(x.to(dtype))[1])[0].dtype == dtype


@all_families
def test_a_network_on_the_meta_device_knows_its_shapes(family):
    meta = {"device": "meta", "dtype": torch.float32}
    network = family.network_type(I, H, 2, bidirectional=True, **family.options, **meta)
    output, final = network(torch.empty(T, B, I, **meta))
    expected = [part.shape for part in tensors(family.state(4, B))]
    assert output.shape == (T, B, 2 * H)
    assert [part.shape for part in tensors(final)] == expected
    assert {part.device.type for part in (output, *tensors(final))} == {"meta"}
    output, _ = network(torch.empty(T, I, **meta), like(final, lambda part: part[:, 0]))
    assert output.shape == (T, 2 * H)
    packed = PackedSequence(torch.empty(5, I, **meta), torch.tensor([2, 2, 1]))
    output, final = network(packed, final)
    assert output.data.shape == (5, 2 * H)
    assert [part.shape for part in tensors(final)] == expected
    cell = family.cell_type(I, H, **family.options, **meta)
    h, state = cell(torch.empty(B, I, **meta))
    assert h.shape == (B, H)
    assert [part.shape for part in tensors(state)] == [shape[1:] for shape in expected]


def like(state, change):
    """The same kind of state with every tensor changed."""
    return change(state) if isinstance(state, torch.Tensor) else type(state)(*map(change, state))


@all_families
def test_gradcheck(family):
    network = family.network(num_layers=2, bidirectional=True)
    names = [name for name, _ in network.named_parameters()]
    state = tensors(family.state(4, B))

    def call(x, *rest):
        given, parameters = rest[: len(state)], dict(zip(names, rest[len(state) :], strict=True))
        output, final = functional_call(network, parameters, (x, given if family.state_type else given[0]))
        return output, *tensors(final)

    inputs = [random(T, B, I), *state, *(parameter.detach().clone() for parameter in network.parameters())]
    assert torch.autograd.gradcheck(call, [part.requires_grad_() for part in inputs], fast_mode=True)


@all_families
def test_the_state_is_a_named_tuple_that_detaches_with_one_call(family):
    network = family.network()
    for module, x in ((network, random(T, B, I)), (family.cell(), random(B, I))):
        _, state = module(x)
        detached = state.detach()
        assert all(part.requires_grad for part in tensors(state))
        assert not any(part.requires_grad for part in tensors(detached))
        if family.state_type is None:
            assert isinstance(state, torch.Tensor)
        else:
            assert type(state) is type(detached) is family.state_type
            assert state._fields[0] == "h"
            assert torch.equal(state.h, state[0])
        assert all(torch.equal(a, b) for a, b in zip(tensors(state), tensors(detached), strict=True))


@all_families
def test_any_tuple_or_list_of_the_tensors_is_a_state(family):
    network, x, state = family.network(), random(T, B, I), family.state(1, B)
    if family.state_type is not None:
        close(network(x, tuple(state))[0], network(x, state)[0], 0)
        close(network(x, list(state))[0], network(x, state)[0], 0)
        assert type(network(x, tuple(state))[1]) is family.state_type


def through_pickle(network):
    return pickle.loads(pickle.dumps(network))


def through_state_dict(network, family):
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = family.network(num_layers=2, bidirectional=True)
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


@all_families
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "state_dict"])
def test_a_copy_computes_the_same_and_is_its_own(family, way):
    network, x = family.network(num_layers=2, bidirectional=True), random(T, B, I)
    copies = {
        "deepcopy": copy.deepcopy,
        "pickle": through_pickle,
        "state_dict": partial(through_state_dict, family=family),
    }
    twin = copies[way](network)
    output, state = network(x)
    again, last = twin(x)
    close((again, *tensors(last)), (output, *tensors(state)), 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    close(twin(x)[0], output, 0)


@all_families
def test_reset_parameters_draws_every_matrix_anew(family):
    network = family.network(num_layers=2)
    fresh = family.network_type(I, H, 2, **family.options)
    before = [parameter.clone() for parameter in network.parameters()]
    network.reset_parameters()
    for (name, parameter), old, new in zip(network.named_parameters(), before, fresh.parameters(), strict=True):
        assert not torch.equal(parameter, old), name
        # what a fresh network has constant is constant again, and the same
        if (new == new.flatten()[0]).all():
            close(parameter.float(), new, 0)


@all_families
def test_vmap_over_many_sets_of_parameters(family):
    networks = [family.network(num_layers=2, bidirectional=True) for _ in range(3)]
    parameters, buffers = stack_module_state(networks)
    x = random(T, B, I)
    outputs, states = vmap(lambda p: functional_call(networks[0], (p, buffers), (x,)))(parameters)
    for k, network in enumerate(networks):
        output, state = network(x)
        close((outputs[k], *(part[k] for part in tensors(states))), (output, *tensors(state)))


@all_families
def test_autocast_computes_in_bfloat16_and_learns_in_float32(family):
    network = family.network(num_layers=2, bidirectional=True, dtype=torch.float32)
    x, state = random(T, B, I, dtype=torch.float32), family.state(4, B, dtype=torch.float32)
    expected, expected_final = network(x, state)
    with torch.autocast("cpu", torch.bfloat16):
        output, final = network(x, state)
        network(x.bfloat16(), final)
        network(pack_sequence([x[:, 0], x[:2, 1]]), state)
    close([part.float() for part in (output, *tensors(final))], (expected, *tensors(expected_final)), 0.2)
    assert not torch.equal(output.float(), expected)
    output.float().square().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@all_families
def test_recurrent_dropout_draws_for_each_sample_under_vmap(family):
    network = family.network(recurrent_dropout=0.5)
    x = torch.randn(1, 3, 1, I, dtype=torch.float64).expand(4, -1, -1, -1)
    output = torch.func.vmap(lambda sample: network(sample)[0], randomness="different")(x)
    assert not torch.equal(output[0], output[1])


def test_settings_of_another_network_are_refused_by_the_name_of_this_one():
    for make, name in ((hn.HyperLSTM, "HyperLSTM"), (hn.HyperLSTMCell, "HyperLSTMCell"), (hn.HyperRNN, "HyperRNN")):
        with pytest.raises(TypeError, match=rf"^{name}\.__init__\(\) got an unexpected keyword argument 'bias'"):
            make(3, 5, bias=False)
    assert hn.HyperRNN(3, 5, generation="full", hyper_size=4).cell(0).generation == "full"
    assert hn.HyperRHN(3, 5, depth=2, hyper_size=4).cell(0).main.depth == 2


def test_torchs_name_for_the_state_is_taken_too():
    lstm = hn.LSTM(3, 5)
    x, state = torch.randn(2, 4, 3), (torch.randn(1, 4, 5), torch.randn(1, 4, 5))
    assert torch.equal(lstm(x, hx=state)[0], lstm(x, state)[0])
    with pytest.raises(TypeError, match="two names of one argument"):
        lstm(x, state, hx=state)


def test_autocast_takes_what_it_can_cast_and_names_the_rest():
    lstm = hn.LSTM(3, 5, layer_norm=True)
    with torch.autocast("cpu", torch.bfloat16):
        lstm(torch.randn(2, 4, 3, dtype=torch.bfloat16))
        for dtype in (torch.int64, torch.float64):
            with pytest.raises(ValueError, match=rf"input has dtype {dtype}, but"):
                lstm(torch.ones(2, 4, 3, dtype=dtype))
