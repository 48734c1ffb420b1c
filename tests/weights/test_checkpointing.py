"""torch.utils.checkpoint in a target and around the network."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn
from hypernetworks.weights import network

from .loops import served
from .targets import GENERATORS, C, close, shake

B = 4


class Checkpointed(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 5)) for _ in range(3)
        ).double()
        self.reentrant = reentrant

    def forward(self, x):
        for block in self.blocks:
            x = x + (block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant))
        return x


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_checkpoint_in_the_target_recomputes_with_the_same_weights(kind):
    net = hn.HyperNetwork(Checkpointed(), GENERATORS[kind]())
    shake(net)
    twin = copy.deepcopy(net)
    twin.target.reentrant = False
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    gradients = []
    for each in (net, twin):
        torch.manual_seed(0)
        loss = each(x, condition=c[0]).square().sum() + each(x, condition=c[1]).square().sum()
        loss.backward()
        gradients.append([parameter.grad for parameter in each.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        close(recomputed, plain)


def in_call(net, x, c):
    return net(x, condition=c)


def with_given_weights(net, x, c):
    return net(x, weights=net.generate(c))


def within_using(net, x, c):
    with net.using(c) as adapted:
        return adapted(x)


@pytest.mark.parametrize("before", [0, 20], ids=["at once", "after 20 calls"])
@pytest.mark.parametrize("call", [in_call, with_given_weights, within_using])
@pytest.mark.parametrize("kind", ["full", "low-rank"])
def test_a_reentrant_checkpoint_in_the_target_is_refused(kind, call, before):
    """Also if it is switched on after other calls."""
    net = hn.HyperNetwork(Checkpointed(), GENERATORS[kind]())
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    for _ in range(before):
        call(net, x, c).sum().backward()
    net.target.reentrant = True
    for _ in range(2):
        with pytest.raises(RuntimeError, match="use_reentrant=False"):
            call(net, x, c).sum().backward()
    net.target.reentrant = False
    call(net, x, c).sum().backward()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")  # of torch, without gradients
def test_a_reentrant_checkpoint_in_the_target_is_refused_per_sample():
    net = hn.HyperNetwork(Checkpointed(), GENERATORS["low-rank"]()).eval()
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(B, C, dtype=torch.float64)
    for _ in range(20):
        net(x, condition=c)
    assert served(net)
    net.target.reentrant = True
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        net(x, condition=c).sum().backward()
    assert served(net)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")  # of torch, without gradients
def test_generated_tensors_have_hooks_only_if_the_target_keeps_reentrant_segments(monkeypatch):
    watched = []
    monkeypatch.setattr(network, "refuse_reentrant", lambda weights: watched.append(weights))
    net = hn.HyperNetwork(Checkpointed(), GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    results = []
    for reentrant, times in ((None, 0), (False, 0), (True, 1), (True, 2), (None, 2)):
        net.target.reentrant = reentrant
        results.append(net(x, condition=c))
        assert len(watched) == times
    with torch.no_grad():
        net.target.reentrant = True
        net(x, condition=c)
    assert len(watched) == 2


def test_a_reentrant_checkpoint_around_the_network():
    net = hn.HyperNetwork(Checkpointed(), GENERATORS["full"]()).eval()
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    net(x, condition=c).square().sum().backward()
    plain = [parameter.grad.clone() for parameter in net.generator.parameters()]
    net.zero_grad()
    checkpoint(lambda x: net(x, condition=c), x, use_reentrant=True).square().sum().backward()
    for parameter, expected in zip(net.generator.parameters(), plain, strict=True):
        close(parameter.grad, expected)
