"""The number of threads changes rounding only, and the same number gives the same bits."""

import pytest
import torch

import hypernetworks as hn

from .parity import TOLERANCE, both_dtypes, given, native_families, network_of, state_of, tensors, worst


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def run(network, x, state):
    with hn.use_backend("native"):
        output, final = network(x, given(network, state))
        outputs = [output, *tensors(final)]
        torch.manual_seed(4)
        cotangents = [torch.randn_like(tensor) for tensor in outputs]
        grads = torch.autograd.grad(outputs, [x, *state, *network.parameters()], cotangents)
    with torch.no_grad(), hn.use_backend("native"):
        step, _ = network(x[:1], given(network, state))
    return [*outputs, *grads, step]


@native_families
@both_dtypes
@pytest.mark.parametrize(("time", "batch", "size"), [(30, 40, 97), (7, 2, 130), (50, 1, 64)])
def test_threads(family, dtype, time, batch, size, threads):
    sizes = {"hyper_size": 40, "hyper_embedding_size": 16} if "hyper_size" in family.options else {}
    network = network_of(family, size, size, dtype, **sizes)
    x = torch.randn(time, batch, size, dtype=dtype, requires_grad=True)
    state = [tensor.requires_grad_() for tensor in state_of(network, batch, dtype)]
    answers = {}
    for count in (1, 2, 3):
        threads(count)
        answers[count] = run(network, x, state)
        for _ in range(4):
            assert all(map(torch.equal, run(network, x, state), answers[count]))
    for count in (2, 3):
        assert worst(answers[count], answers[1]) <= TOLERANCE[dtype]
