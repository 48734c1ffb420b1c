"""Fresh memory, which all comes from torch, the kernels' own room included, is full of NaN: nothing of it is ever read."""

import pytest
import torch

import hypernetworks as hn
from hypernetworks.recurrent.native.call import Kernel

from .parity import both, given, native_families, network_of, state_of, worst


@pytest.fixture(autouse=True)
def poison():
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(deterministic)


def test_the_room_of_a_kernel_is_poisoned(monkeypatch):
    assert torch.empty(100).isnan().all()
    seen = []
    fill = Kernel.fill

    def watched(kernel, fields):
        seen.append(fields)
        return fill(kernel, fields)

    monkeypatch.setattr(Kernel, "fill", watched)
    with hn.use_backend("native"):
        hn.LSTM(3, 5)(torch.randn(4, 2, 3))
    assert "workspace" not in seen[0]  # it is torch.empty's, made where the kernel is run


@native_families
@pytest.mark.parametrize(("time", "batch", "size"), [(5, 3, 9), (3, 160, 33), (1, 2, 7), (9, 1, 1)])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_answer_is_the_same(family, time, batch, size, reverse):
    network = network_of(family, size, size, bidirectional=reverse)
    x = torch.randn(time, batch, size, dtype=torch.float64, requires_grad=True)
    state = [tensor.requires_grad_() for tensor in state_of(network, batch)]
    ours, theirs = both(network, lambda: network(x, given(network, state)), [x, *state, *network.parameters()])
    assert worst(ours, theirs) <= 1e-10
    with torch.no_grad():
        ours, theirs = both(network, lambda: network(x, given(network, state)), [])
    assert worst(ours, theirs) <= 1e-10
