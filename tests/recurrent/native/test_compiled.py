"""The compiled path: the step of every network as one graph, equal to the reference."""

import os

import pytest
import torch

import hypernetworks as hn

from ..families import FAMILIES
from .parity import both, given, network_of, state_of, worst

# torch's compiler warns of its own doings
pytestmark = pytest.mark.filterwarnings("ignore")


# each takes 10 to 40 seconds to compile
LONG = ["hyper-gru", "hyper-rnn", "hyper-rnn-full", "hyper-rhn"]
long = pytest.mark.skipif(
    "HYPERNETWORKS_LONG" not in os.environ, reason="takes half a minute: HYPERNETWORKS_LONG=1 runs it"
)


@pytest.mark.parametrize(
    "name", ["layer-norm-lstm", "rhn", "hyper-lstm", *(pytest.param(name, marks=long) for name in LONG)]
)
def test_equal_to_the_reference(name):
    torch._dynamo.reset()
    network = network_of(FAMILIES[name], 3, 5)
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    state = [tensor.requires_grad_() for tensor in state_of(network, 2)]
    leaves = [x, *state, *network.parameters()]
    ours, theirs = both(network, lambda: network(x, given(network, state)), leaves, path="compiled")
    assert worst(ours, theirs) <= 1e-10


def test_the_step_of_a_cell_is_compiled(monkeypatch):
    torch._dynamo.reset()
    cell = hn.LSTMCell(3, 5)
    compiled = []
    monkeypatch.setattr(
        torch, "compile", lambda step, **options: compiled.append(options) or (lambda *given: step(*given))
    )
    hn.recurrent.backend.compiled.cache_clear()
    with hn.use_backend("compiled"):
        cell(torch.randn(2, 3))
        cell(torch.randn(2, 3))
    hn.recurrent.backend.compiled.cache_clear()
    assert compiled == [{"fullgraph": True}]  # once, and a break in the graph would be an error


def test_more_networks_than_torch_compiles_by_default():
    # only the limits: ten sizes of a real compiler would take minutes
    torch._dynamo.reset()
    hn.recurrent.backend.compiled.cache_clear()
    real = torch.compile
    try:
        torch.compile = lambda step, **options: real(step, backend="eager", **options)
        for size in range(3, 14):
            network = hn.LSTM(size, size + 2, layer_norm=size % 2 == 0)
            x = torch.randn(3, 2, size)
            with hn.use_backend("compiled"):
                output, _ = network(x)
            with hn.use_backend("reference"):
                assert worst([output], [network(x)[0]]) <= 1e-6
    finally:
        torch.compile = real
        hn.recurrent.backend.compiled.cache_clear()
