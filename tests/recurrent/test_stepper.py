"""A stepper gives what the network gives on the whole sequence, one time step at a time."""

import copy
import pickle

import pytest
import torch
from torch.nn.utils import parametrize

import hypernetworks as hn

from .families import all_families, tensors

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


def worst(ours, theirs):
    pairs = list(zip(ours, theirs, strict=True))
    assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)
    return max((a - b).abs().max().item() for a, b in pairs)


def reference(network, x, state=None):
    with torch.no_grad(), hn.use_backend("reference"):
        output, final = network(x, state)
    return [output, *tensors(final)]


def run(step, x):
    """The outputs of all time steps, and the final state."""
    return [torch.stack([step(row) for row in x]), *tensors(step.state)]


def spread(network):
    """Weights of a trained network's size, whose products are near 1."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter.shape[-1] ** -0.5)
    return network


@all_families
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("batch", "sizes", "layers"), [(1, (7, 9), 3), (3, (33, 65), 1), (33, (1, 1), 2)])
def test_one_step_at_a_time(family, dtype, batch, sizes, layers):
    network = spread(family.network(*sizes, layers, dtype=dtype))
    x = torch.randn(6, batch, sizes[0], dtype=dtype)
    with network.stepper(batch) as step:
        assert worst(run(step, x), reference(network, x)) <= TOLERANCE[dtype]


@all_families
def test_without_a_batch(family):
    network = family.network(num_layers=2)
    x = torch.randn(5, network.input_size, dtype=torch.float64)
    step = network.stepper(batch=None)
    assert step.batch is None
    assert worst(run(step, x), reference(network, x)) <= 1e-10


@pytest.fixture
def network():
    return spread(hn.HyperLSTM(19, 23, 2, hyper_size=5, hyper_embedding_size=3))


@pytest.fixture
def x():
    return torch.randn(5, 2, 19)


@all_families
def test_state_in_and_out(family):
    network = family.network(num_layers=2)
    x = torch.randn(6, 3, network.input_size, dtype=torch.float64)
    output, *final = reference(network, x)
    step = network.stepper(3)
    for row in x[:2]:
        step(row)
    kept = step.state
    first = run(step, x[2:])
    assert type(kept) is (torch.Tensor if family.state_type is None else family.state_type)
    other = network.stepper(1)
    other.state = kept  # of another batch size
    assert other.batch == 3
    second = run(other, x[2:])
    for ours in (first, second):
        assert worst(ours, [output[2:], *final]) <= 1e-10
    _, state = network(x[:2], None)
    step.state = state  # with a graph
    assert worst(run(step, x[2:]), [output[2:], *final]) <= 1e-10


def test_reset(network, x):
    step = network.stepper(2)
    first = run(step, x)
    step.reset()
    assert all(not tensor.any() for tensor in step.state)
    assert all(torch.equal(a, b) for a, b in zip(run(step, x), first, strict=True))
    before = step.state
    for rows in (1, [1], torch.tensor([1])):
        step.state = before
        step.reset(rows)
        for now, old in zip(step.state, before, strict=True):
            assert torch.equal(now[:, 0], old[:, 0])
            assert not now[:, 1].any()
    with pytest.raises(IndexError):
        step.reset(2)


def test_in_inference_mode_and_out(network, x):
    with torch.inference_mode():
        step = network.stepper(2)
        first = run(step, x)
        kept = step.state
    step.reset(0)
    step.state = kept
    second = run(step, x)
    with torch.inference_mode():
        step.reset(1)
        step(x[0])
    assert worst(first + second, reference(network, x) + reference(network, x, kept)) <= 1e-5


def test_refresh_reads_the_weights_again(network, x, path):
    step = network.stepper(2)
    before = reference(network, x)
    assert worst(run(step, x), before) <= 1e-5
    step.reset()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    if path == "native":  # the weights are packed: what changed is not seen
        assert worst(run(step, x), before) <= 1e-5
        step.reset()
    step.refresh()
    step(x[0])
    state = step.state
    step.refresh()  # the state stays
    output, *final = reference(network, x[1:], state)
    assert worst(run(step, x[1:]), [output, *final]) <= 1e-5
    assert worst([output], [before[0][1:]]) > 1e-2


def test_parametrized_weights(network, x):
    class Double(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    parametrize.register_parametrization(network.cell(0).main, "weight_x", Double())
    assert worst(run(network.stepper(2), x), reference(network, x)) <= 1e-5


def test_no_dropout_while_training(x):
    network = hn.HyperLSTM(19, 23, 2, hyper_size=5, dropout=0.5, recurrent_dropout=0.5).train()
    ours = run(network.stepper(2), x)
    assert network.training
    assert worst(ours, reference(network.eval(), x)) <= 1e-5


def test_other_strides(network, x):
    step = network.stepper(2)
    expected = step(x[0])
    for other in (x[0].t().contiguous().t(), torch.cat((x[0], x[0]), 1)[:, :19], torch._neg_view(-x[0])):
        step.reset()
        assert worst([step(other)], [expected]) <= 1e-6
    step.reset()
    assert torch.equal(step(torch.nn.Parameter(x[0], requires_grad=False)), expected)


def test_half_precision_takes_the_reference():
    network = hn.HyperLSTM(9, 8, hyper_size=4, dtype=torch.bfloat16)
    x = torch.randn(3, 2, 9, dtype=torch.bfloat16)
    step = network.stepper(2)
    assert step.weights == "bfloat16"
    assert worst(run(step, x), reference(network, x)) == 0


def test_what_is_wrong_is_said(network, x):
    for message, error, call in [
        ("batch should be at least 1, got 0", ValueError, lambda: network.stepper(0)),
        ("batch should be a whole number, got 1.5", TypeError, lambda: network.stepper(1.5)),
        (
            "weights should be one of 'float32', 'bfloat16', 'int8', got 'int4'",
            ValueError,
            lambda: network.stepper(1, "int4"),
        ),
        (
            r"weights='int8' requires a network in float32, got float64: call network\.float\(\), or leave out weights",
            ValueError,
            lambda: hn.LSTM(2, 3, dtype=torch.float64).stepper(1, "int8"),
        ),
        (
            "a bidirectional network reads the whole sequence",
            ValueError,
            lambda: hn.LSTM(2, 3, bidirectional=True).stepper(),
        ),
        (
            "weights='int8' needs the native path",
            ValueError,
            lambda: hn.HyperRNN(2, 3, generation="full").stepper(1, "int8"),
        ),
    ]:
        with pytest.raises(error, match=message):
            call()


def test_bad_input(network, x):
    step, alone = network.stepper(2), network.stepper(None)
    for message, error, call in [
        ("input should be a tensor, got list", TypeError, lambda: step(x[0].tolist())),
        (r"input should have shape \(batch, input_size\), got \(19,\)", ValueError, lambda: step(x[0, 0])),
        (r"input should have shape \(input_size,\), got \(2, 19\)", ValueError, lambda: alone(x[0])),
        (r"with input_size 19, got \(2, 18\)", ValueError, lambda: step(x[0, :, 1:])),
        ("input should have 2 rows, as the stepper's batch, got 1", ValueError, lambda: step(x[0, :1])),
        ("input has dtype torch.float64", ValueError, lambda: step(x[0].double())),
        ("input is on device meta", ValueError, lambda: step(x[0].to("meta"))),
        ("no gradients flow through a stepper", RuntimeError, lambda: step(x[0].requires_grad_())),
    ]:
        with pytest.raises(error, match=message):
            call()
    for message, error, state in [
        (r"state.h should have shape \(2, 3, 23\), got \(1, 3, 23\)", ValueError, [torch.zeros(1, 3, 23)] * 4),
        ("state should hold 4 tensors", ValueError, [torch.zeros(2, 3, 23)] * 2),
        (
            "state.c should have shape",
            ValueError,
            [torch.zeros(2, 3, 23), torch.zeros(2, 2, 23), *[torch.zeros(2, 3, 5)] * 2],
        ),
        ("state.h should be a tensor", TypeError, [None] * 4),
        ("state should be a tuple", TypeError, torch.zeros(2, 3, 23)),
    ]:
        with pytest.raises(error, match=message):
            step.state = state
    step(x[0].detach())


def test_a_closed_stepper(network, x):
    with network.stepper(2) as step:
        step(x[0])
    for call in (lambda: step(x[0]), lambda: step.state, step.reset, step.refresh):
        with pytest.raises(RuntimeError, match="the stepper is closed"):
            call()
    step.close()


def test_it_is_not_copied(network):
    step = network.stepper()
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            copied(step)
    assert repr(step) == "Stepper(HyperLSTM, batch=1, weights='float32')"


def test_two_steppers_of_one_network(network, x):
    first, second = network.stepper(2), network.stepper(2)
    outputs = [(first(row), second(row)) for row in x]
    assert all(torch.equal(a, b) for a, b in outputs)


def test_hooks_run_or_are_refused(network, x):
    weight_norm = torch.nn.utils.weight_norm
    for holder, name in ((network.cell(0).main, "weight_h"), (network.cell(1).hyper.lstm, "weight_x")):
        with pytest.warns(FutureWarning):
            weight_norm(holder, name)
        with torch.no_grad():
            getattr(holder, f"{name}_g").mul_(1.5)
    assert worst(run(network.stepper(2), x), reference(network, x)) <= 1e-5
    for module in (network, network.cell(1)):
        handle = module.register_forward_hook(lambda *given: None)
        with pytest.raises(RuntimeError, match="has a forward hook, which would never run"):
            network.stepper(2)
        handle.remove()
    network.stepper(2)


def test_the_public_class_is_what_networks_make(network, x):
    assert type(network.stepper(2)) is hn.Stepper
    assert worst(run(hn.Stepper(network, batch=2), x), reference(network, x)) <= 1e-5
    with pytest.raises(TypeError, match=r"network should be a recurrent network such as hn\.LSTM, got LSTMCell"):
        hn.Stepper(hn.LSTMCell(3, 4))
