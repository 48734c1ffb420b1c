"""Caches of keys and values, which are no tensors, in calls with weights for each sample."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .loops import served
from .targets import C, close, shake

B = 3
double = {"dtype": torch.float64}


class Cache:
    """Keeps tensors as transformers' DynamicCache does."""

    def __init__(self):
        self.layers = []

    def update(self, x):
        self.layers.append({"keys": x})
        return torch.stack([each["keys"] for each in self.layers]).sum(0)


class Caching(nn.Module):
    """Adds up what it computed in all calls with one cache."""

    def __init__(self, alone):
        super().__init__()
        self.linear, self.alone = nn.Linear(4, 4, **double), alone

    def forward(self, x, cache=None):
        cache = Cache() if cache is None else cache
        y = self.linear(x) + (self.linear.weight.sum() if self.alone else 0)
        return cache.update(y), cache


def test_a_cache_on_the_whole_batch():
    net = hn.HyperNetwork(Caching(alone=False), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(2, B, 4, **double), torch.randn(B, C, **double)
    y, cache = net(x[0], condition=c)
    assert served(net)
    z, cache = net(x[1], cache, condition=c)
    assert served(net)
    assert len(cache.layers) == 2
    for n in range(B):
        one, own = net(x[0, n : n + 1], condition=c[n])
        close(y[n : n + 1], one)
        close(z[n : n + 1], net(x[1, n : n + 1], own, condition=c[n])[0])


def test_a_cache_under_vmap_is_refused_with_the_way_out():
    net = hn.HyperNetwork(Caching(alone=True), hn.LowRankGenerator(C, rank=2))
    with pytest.raises(
        ValueError, match=r"returns a Cache that holds tensors of each sample.*use_cache=False.*net\.using"
    ):
        net(torch.randn(B, 4, **double), condition=torch.randn(B, C, **double))


def test_a_cache_that_is_changed_under_vmap_is_refused():
    """It is not returned."""

    class Kept(Caching):
        def forward(self, x, cache):
            return super().forward(x, cache)[0]

    net = hn.HyperNetwork(Kept(alone=True), hn.LowRankGenerator(C, rank=2))
    with pytest.raises(ValueError, match=r"changes a Cache that holds tensors of each sample.*use_cache=False"):
        net(torch.randn(B, 4, **double), Cache(), condition=torch.randn(B, C, **double))


class Means(nn.Module):
    """Adds a mean of all that an object has."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4, **double)

    def forward(self, x, cache):
        return self.linear(x) + self.linear.weight.sum() + sum(each["keys"].mean(0) for each in cache.layers)


def test_a_cache_of_all_samples_is_not_taken_for_that_of_each():
    net = hn.HyperNetwork(Means(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c, cache = torch.randn(B, 4, **double), torch.randn(B, C, **double), Cache()
    cache.update(torch.randn(B, 4, **double))
    with pytest.raises(
        ValueError, match=r"argument 1 is a Cache that holds tensors with a dimension of 3.*use_cache=False.*in_dims"
    ):
        net(x, cache, condition=c)
    y = net(x, cache, condition=c, in_dims=(0, None))
    close(y, torch.cat([net(x[n : n + 1], cache, condition=c[n]) for n in range(B)]))
