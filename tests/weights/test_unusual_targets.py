"""Targets of unusual structure: outputs and gradients of torch.func.functional_call, and the target as it was."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn

from .targets import C, close, shake
from .unchanged import assert_unchanged, state_of

B, D = 4, 5


class Lists(nn.Module):
    """Parameters in a list and a dictionary."""

    def __init__(self):
        super().__init__()
        self.several = nn.ParameterList([nn.Parameter(torch.randn(D, D)) for _ in range(2)])
        self.named = nn.ParameterDict({"bias": nn.Parameter(torch.randn(D)), "scale": nn.Parameter(torch.randn(D))})

    def forward(self, x):
        for W in self.several:
            x = (x @ W).tanh()
        return x * self.named["scale"] + self.named.bias


class Dynamic(nn.Module):
    """Attributes by rules of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(D, D)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "inner":
                raise
            return getattr(self.inner, name)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self.__dict__.setdefault("history", []).append(name)

    def forward(self, x):
        self.last = x
        return x @ self.weight.T + self.bias


class Lazily(nn.Module):
    """Computes a table from its weights, and keeps it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(D, D)
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = self.linear.weight @ self.linear.weight.T
        return x @ self.table


class Walks(nn.Module):
    """Finds its parts by walking over itself, and by a property."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Linear(D, D), "b": nn.Linear(D, D)})

    @property
    def second(self):
        return self.get_submodule("layers.b")

    def forward(self, x):
        assert all(parameter is dict(self.named_parameters())[name] for name, parameter in self.named_parameters())
        for module in self.modules():
            if isinstance(module, nn.Linear):
                x = module(x).tanh()
        return self.second(x) + sum(parameter.square().sum() for parameter in self.parameters())


class Coroutine(nn.Module):
    """Runs its layers as a generator function, which is left before its end."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(D, D) for _ in range(3))

    def steps(self, x):
        for layer in self.layers:
            x = layer(x).tanh()
            yield x

    def forward(self, x):
        steps = self.steps(x)
        return next(steps) + next(steps)


class Patched(nn.Module):
    """A layer whose forward was replaced by one that calls the former."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(D, D)
        former = self.linear.forward
        self.linear.forward = lambda x: former(x).sin()

    def forward(self, x):
        return self.linear(x)


def old_weight_norm():
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(D, D)), nn.Tanh())


def new_weight_norm():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(D, D)), nn.Tanh())


def old_spectral_norm():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(D, D)), nn.Tanh()).eval()


def new_spectral_norm():
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(D, D)), nn.Tanh()).eval()


def orthogonal():
    return nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(D, D)), nn.Tanh())


def lazy():
    target = nn.Sequential(nn.LazyLinear(D), nn.Tanh())
    target(torch.randn(B, D))
    return target


MAKE = [Lists, Dynamic, Lazily, Walks, Coroutine, Patched]
MAKE += [old_weight_norm, new_weight_norm, old_spectral_norm, new_spectral_norm, orthogonal, lazy]


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.torch.nn.utils.spectral_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("make", MAKE)
def test_equal_to_a_functional_call(make, per_sample):
    target = make().double()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    shake(net)
    twin = hn.HyperNetwork(make().double(), hn.FullGenerator(C, init="hyperfan-in"))
    twin.load_state_dict(net.state_dict())

    def reference(x, c):
        fresh = make().double()  # what functional_call leaves in a target does not come to the next call
        fresh.load_state_dict(twin.target.state_dict())
        return functional_call(fresh, twin.generate(c), x)

    x = torch.randn(B, D, dtype=torch.float64)
    c = torch.randn(*((B, C) if per_sample else (C,)), dtype=torch.float64)
    before = state_of(target)
    y = net(x, condition=c)
    assert_unchanged(target, before)
    if per_sample:
        expected = torch.cat([reference(x[n : n + 1], c[n]) for n in range(B)])
    else:
        expected = reference(x, c)
    close(y, expected)
    y.square().sum().backward()
    expected.square().sum().backward()
    for mine, theirs in zip(net.generator.parameters(), twin.generator.parameters(), strict=True):
        close(mine.grad, theirs.grad)
    assert_unchanged(target, before)


def test_a_network_is_copied_and_pickled_while_it_is_used():
    target = nn.Sequential(nn.Linear(D, D), nn.Tanh()).double()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, D, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    before = state_of(target)
    y = net(x, condition=c)
    with net.using(c) as adapted:
        for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            close(again(x, condition=c), y)
        close(adapted(x), y)
        close(net(x, condition=-c), functional_call(target, net.generate(-c), x))
    assert_unchanged(target, before)


def test_an_exception_in_the_target():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.linear, self.fails = nn.BatchNorm1d(D), nn.Linear(D, D), True

        def forward(self, x):
            y = self.norm(x)
            self.seen = y
            self.linear.register_forward_hook(lambda module, args, output: output + 1)
            if self.fails:
                raise ArithmeticError("on purpose")
            return self.linear(y)

    target = Fails().double()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, D, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    before = state_of(target)
    for condition in (c, c.expand(B, C)):
        with pytest.raises(ArithmeticError, match="on purpose"):
            net(x, condition=condition)
    with pytest.raises(ArithmeticError, match="on purpose"), net.using(c) as adapted:
        adapted(x)
    assert_unchanged(target, before)
    target.fails = False
    expected = functional_call(copy.deepcopy(target), net.generate(c), x)
    close(net(x, condition=c), expected)
