"""torch.utils.checkpoint in a target and around the network."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

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


def test_a_reentrant_checkpoint_in_the_target_is_refused():
    net = hn.HyperNetwork(Checkpointed(reentrant=True), GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        net(x, condition=c).sum().backward()


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
