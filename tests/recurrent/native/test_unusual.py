"""Tensors and surroundings that few have: each is served rightly, or goes to the reference."""

import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

from ..families import tensors
from .parity import both, given, native_families, network_of, state_of, worst

one_step_and_four = pytest.mark.parametrize("time", [1, 4])


def one_step(cell, *arguments):
    """The answer of one step without gradients on both paths."""
    answers = []
    for path in ("native", "reference"):
        with hn.use_backend(path), torch.no_grad():
            h, state = cell(*arguments)
        answers.append([h, *tensors(state)])
    return answers


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@native_families
def test_a_view_that_stands_for_its_negative(family):
    network = network_of(family, 3, 5)
    cell = network.cell(0)
    assert worst(*one_step(cell, torch._neg_view(random(2, 3)))) <= 1e-10
    state = [torch._neg_view(tensor[0]) for tensor in state_of(network, 2)]
    assert worst(*one_step(cell, random(2, 3), given(network, state))) <= 1e-10
    x = torch._neg_view(random(4, 2, 3))
    assert worst(*both(network, lambda: network(x), list(network.parameters()))) <= 1e-10


@native_families
def test_a_state_of_zeros_without_memory(family):
    network = network_of(family, 3, 5)
    state = [torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype) for tensor in state_of(network, 2)]
    x = random(4, 2, 3)
    assert worst(*both(network, lambda: network(x, given(network, state)), list(network.parameters()))) <= 1e-10
    assert worst(*one_step(network, x[:1], given(network, state))) <= 1e-10


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state:UserWarning")
def test_a_sparse_weight(layout):
    network = hn.LSTM(5, 9, dtype=torch.float64)
    cell = network.cell(0)
    cell.weight_h = nn.Parameter(cell.weight_h.detach().to_sparse(layout=layout))
    for time in (1, 3):
        assert worst(*one_step(network, random(time, 2, 5))) <= 1e-10


def test_a_weight_of_another_dtype_at_the_same_place_is_an_error():
    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    memory = random(36 * 9)
    cell.weight_h.data = memory.view(36, 9)
    one_step(cell, random(2, 5))
    cell.weight_h.data = memory.view(torch.float32)[: 36 * 9].view(36, 9)
    with hn.use_backend("native"), torch.no_grad(), pytest.raises((TypeError, ValueError), match="weight_h"):
        cell(random(2, 5))


@native_families
def test_another_default_device(family):
    network = network_of(family, 3, 5)
    state = given(network, state_of(network, 2))
    x = random(4, 2, 3)
    with hn.use_backend("reference"), torch.no_grad():
        expected = [network(x, state)[0], network(x[:1], state)[0]]
    with hn.use_backend("native"), torch.no_grad(), torch.device("meta"):
        came = [network(x, state)[0], network(x[:1], state)[0]]
    assert worst(came, expected) <= 1e-10


@native_families
def test_fake_tensors(family):
    with FakeTensorMode(), torch.no_grad(), hn.use_backend("native"):
        network = family.network_type(3, 5, **family.options)
        for time in (1, 4):
            output, _ = network(torch.randn(time, 2, 3))
            assert output.shape == (time, 2, 5)


@native_families
@one_step_and_four
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_a_trace_computes_anew(family, time, mode):
    network = network_of(family, 3, 5).requires_grad_(False)
    with hn.use_backend("native"), torch.no_grad():
        traced = make_fx(lambda x: network(x)[0], tracing_mode=mode, _allow_non_fake_inputs=True)(random(time, 2, 3))
        x = random(time, 2, 3)
        assert worst([traced(x)], [network(x)[0]]) <= 1e-12


@native_families
@pytest.mark.filterwarnings("ignore")  # torch.jit warns of its age, and of every size that it takes for a constant
@one_step_and_four
def test_a_script_trace_computes_anew(family, time):
    network = network_of(family, 3, 5).requires_grad_(False)
    with hn.use_backend("native"), torch.no_grad():
        traced = torch.jit.trace(network, (random(time, 2, 3),), check_trace=False)
        x = random(time, 2, 3)
        assert worst([traced(x)[0]], [network(x)[0]]) <= 1e-12


@native_families
def test_many_cotangents_at_once(family):
    network = network_of(family, 3, 5)
    x, many = random(4, 2, 3).requires_grad_(), random(6, 4, 2, 5)
    grads = []
    for path in ("native", "reference"):
        with hn.use_backend(path):
            grads.append(torch.autograd.grad(network(x)[0], [x, *network.parameters()], many, is_grads_batched=True))
    assert worst(*grads) <= 1e-10


@native_families
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_and_saved_elsewhere(family, reentrant):
    network = network_of(family, 3, 5, recurrent_dropout=0.3)
    x = random(4, 2, 3).requires_grad_()

    def grads(run):
        torch.manual_seed(0)
        network.zero_grad()
        x.grad = None
        with hn.use_backend("native"), torch.autograd.set_detect_anomaly(True):
            run().square().sum().backward()
        return [x.grad, *(parameter.grad for parameter in network.parameters())]

    def saved():
        with torch.autograd.graph.save_on_cpu():
            return network(x)[0]

    plain = grads(lambda: network(x)[0])
    assert worst(grads(lambda: checkpoint(lambda x: network(x)[0], x, use_reentrant=reentrant)), plain) == 0
    assert worst(grads(saved), plain) == 0


@native_families
def test_inference_mode(family, spy):
    network = network_of(family, 3, 5)
    x = random(4, 2, 3)
    with hn.use_backend("reference"), torch.no_grad():
        expected, final = network(x)
    with hn.use_backend("native"), torch.inference_mode():
        output, state = network(x[:3])
        last, state = network(x[3:], state)
    assert worst([torch.cat((output, last)), *tensors(state)], [expected, *tensors(final)]) <= 1e-10
    assert (spy.layers, spy.steps) == (1, 1)


@native_families
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_number_stays_in_its_sequence(family, bad):
    network = network_of(family, 3, 9)
    x = random(5, 4, 3)
    x[2, 1, 0] = bad
    ours, theirs = both(network, lambda: network(x), [])
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.isnan(), b.isnan())
    assert not ours[0][:, [0, 2, 3]].isnan().any()
    assert not ours[0][:2].isnan().any()


@native_families
@pytest.mark.parametrize("size", [1e-6, 1e2, 1e6, 1e30])
def test_numbers_of_any_size(family, size):
    network = network_of(family, 3, 9, torch.float64)
    x = (random(5, 4, 3) * size).requires_grad_()
    assert worst(*both(network, lambda: network(x), list(network.parameters()))) <= 1e-10


def test_fewer_threads_than_asked_for():
    program = """
import torch, hypernetworks as hn
torch.set_num_threads(4)
network, x = hn.HyperLSTM(64, 64, dtype=torch.float64), torch.randn(4, 2, 64, dtype=torch.float64)
ours = network(x)[0]
with hn.use_backend("reference"):
    assert (network(x)[0] - ours).abs().max() < 1e-10
"""
    run = ["/usr/bin/env", "OMP_THREAD_LIMIT=1", sys.executable, "-c", program]
    subprocess.run(run, check=True, timeout=60, capture_output=True)


@native_families
def test_whole_layers_in_two_threads_at_once(family):
    network = network_of(family, 16, 24)
    inputs = [random(9, 5, 16).requires_grad_() for _ in range(2)]
    expected = [both(network, lambda x=x: network(x), [x, *network.parameters()])[1] for x in inputs]
    wrong = []

    def work(k):
        for _ in range(10):
            with hn.use_backend("native"):
                output, state = network(inputs[k])
            ours = [output, *tensors(state)]
            wrong.append(worst(ours, expected[k][: len(ours)]) > 1e-10)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 20
    assert not any(wrong)
