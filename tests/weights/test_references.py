"""Attributes, hooks and methods that refer to modules of the target find the copies; changes between calls are noticed."""

import collections
import dataclasses
import functools
import types
import weakref

import numpy
import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, close, mlp
from .unchanged import assert_unchanged, state_of

B = 4


@pytest.mark.parametrize("per_sample", [False, True])
def test_hooks_that_the_target_registers_while_it_runs_stay_in_the_copy(per_sample):
    """As the models of transformers do for output_hidden_states=True."""

    class Recording(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = mlp()

        def forward(self, x):
            outputs = []
            layer = self.layers[0]
            layer.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True)
            layer.register_forward_hook(
                lambda module, args, kwargs, y: outputs.append(y), with_kwargs=True, always_call=True
            )
            layer.register_full_backward_pre_hook(lambda module, gradient: None)
            layer.register_full_backward_hook(lambda module, gradient, other: None)
            y = self.layers(x)
            assert len(outputs) == 1
            return y, outputs[0]

    target = Recording()
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2))
    before = state_of(target)
    c = torch.randn(*((B, C) if per_sample else (C,)), dtype=torch.float64)
    for _ in range(2):
        net(torch.randn(B, 5, dtype=torch.float64, requires_grad=True), condition=c)[0].sum().backward()
    assert_unchanged(target, before)


def test_hooks_of_the_target_run_and_get_the_copy():
    target = mlp()
    seen = []

    def note(module, args, output):
        module.output = output
        seen.append((module, output))
        return output + 1

    target[0].register_forward_pre_hook(lambda module, args: (2 * args[0],))
    target[2].register_forward_hook(note)
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W = net.generate(c)
    y = (2 * x @ W["0.weight"].T + W["0.bias"]).relu() @ W["2.weight"].T + W["2.bias"]
    close(net(x, condition=c), y + 1)
    ((module, output),) = seen
    assert module is not target[2]
    assert module.output is output
    assert isinstance(module, nn.Linear)
    close(output, y)
    assert_unchanged(target, before)


class Holder:
    def __init__(self, *layers):
        self.layers = layers


class Slotted:
    __slots__ = ("__hidden", "layer")

    def __init__(self, layer):
        self.layer = self.__hidden = layer

    def hidden(self):
        return self.__hidden


@dataclasses.dataclass(frozen=True)
class Frozen:
    layer: nn.Module


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    layer: nn.Module


class Refers(nn.Module):
    """Reaches its layer by a reference of some kind, not by its registered name."""

    def __init__(self, way):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.way = way
        linear = self.linear
        if way == "method":
            self.forward = types.MethodType(lambda self, x: self.linear(x), self)
        if way == "partial":
            self.run = functools.partial(self.apply_twice, 1, scale=self.linear.weight)
        if way == "closure":
            self.run = lambda x: linear(x)
        if way == "list":
            self.run = [[linear]]
        if way == "tuple":
            self.run = (linear,)
        if way == "dict":
            self.run = {"layers": {"first": linear}}
        if way == "key":
            self.run = {linear: 1}
        if way == "set":
            self.run = {linear}
        if way == "bound":
            self.run = linear.forward
        if way == "unregistered":
            self.run = (nn.Sequential(linear),)
        if way == "weak":
            self.run = weakref.ref(linear)
        if way == "parent":
            self.child = nn.Identity()
            self.child.parents = [self]
        if way == "parameter":
            self.run = [linear.weight, linear.bias]
        if way == "object":
            self.run = Holder(linear)
        if way == "frozenset":
            self.run = frozenset([linear])
        if way == "deque":
            self.run = collections.deque([linear])
        if way == "weak set":
            self.run = weakref.WeakSet([linear])
        if way == "default":
            self.run = lambda x, layer=linear: layer(x)
        if way == "keyword default":
            self.run = lambda x, *, layer=linear: layer(x)
        if way == "cached":
            self.weights = functools.lru_cache(maxsize=3)(lambda: (linear.weight, linear.bias))
            self.weights()
            self.run = lambda x: nn.functional.linear(x, *self.weights())
        if way == "weak method":
            self.run = weakref.WeakMethod(linear.forward)
        if way == "proxy":
            self.run = weakref.proxy(linear)  # nn.Module registers it
        if way == "proxy in a list":
            self.run = [[weakref.proxy(linear)]]
        if way == "method of a dict":
            self.layers = {"first": linear}
            self.get = self.layers.get
            self.run = lambda x: self.get("first")(x)
        if way == "method of a list":
            layers = [linear]
            self.get = layers.__getitem__
            self.run = lambda x: self.get(0)(x)
        if way in ("slots", "private slots"):
            self.run = Slotted(linear)
        if way in ("frozen", "frozen slots"):
            self.run = {"frozen": Frozen, "frozen slots": FrozenSlots}[way](linear)
        if way == "object in an object":
            self.run = types.SimpleNamespace(inner=Holder(linear))
        if way == "partial of a partial":
            self.run = functools.partial(functools.partial(lambda layer, x, scale: layer(x) * scale, linear), scale=1)
        if way == "hook":
            self.child = nn.Identity()
            self.child.register_forward_hook(lambda module, args, output: linear(output))
        if way == "hook of a method":
            self.child = nn.Identity()
            self.child.register_forward_hook(self.through)

    def through(self, module, args, output):
        return self.linear(output)

    def apply_twice(self, times, x, scale):
        assert torch.equal(scale, self.linear.weight)
        return self.linear(x) * times

    def forward(self, x):
        way = self.way
        if way in CALLED:
            return self.run(x)
        if way in ("tuple", "unregistered", "key", "set", "frozenset", "deque", "weak set"):
            return next(iter(self.run))(x)
        if way in ("list", "proxy in a list"):
            return self.run[0][0](x)
        if way == "dict":
            return self.run["layers"]["first"](x)
        if way in ("weak", "weak method"):
            return self.run()(x)
        if way in ("slots", "frozen", "frozen slots"):
            return self.run.layer(x)
        if way == "private slots":
            return self.run.hidden()(x)
        if way == "object in an object":
            return self.run.inner.layers[0](x)
        if way == "object":
            return self.run.layers[0](x)
        if way == "parent":
            return self.child.parents[0].linear(x)
        if way == "parameter":
            return nn.functional.linear(x, *self.run)
        return self.child(x)


CALLED = ["partial", "closure", "bound", "default", "keyword default", "cached", "proxy", "method of a dict"]
CALLED += ["method of a list", "partial of a partial"]
WAYS = [
    "method",
    "list",
    "tuple",
    "dict",
    "key",
    "set",
    "frozenset",
    "deque",
    "weak set",
    "unregistered",
    "weak",
    "weak method",
]
WAYS += [
    "parent",
    "object",
    "object in an object",
    "slots",
    "private slots",
    "frozen",
    "frozen slots",
    "parameter",
    "hook",
]
WAYS += ["proxy in a list", "hook of a method", *CALLED]


@pytest.mark.parametrize("way", WAYS)
def test_whatever_refers_to_a_module_of_the_target_finds_its_copy(way):
    target = Refers(way)
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    for each in c:
        W = net.generate(each)
        close(net(x, condition=each), x @ W["linear.weight"].T + W["linear.bias"])
    assert_unchanged(target, before)


def test_methods_of_containers_write_into_those_of_the_copy():
    class Notes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5, dtype=torch.float64)
            self.seen = []
            self.note = self.seen.append

        def forward(self, x):
            y = self.linear(x)
            self.note(y)
            return y + len(self.seen)

    target = Notes()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W = net.generate(c)
    for _ in range(2):
        close(net(x, condition=c), x @ W["linear.weight"].T + W["linear.bias"] + 1)
    assert target.seen == []


def test_a_hook_that_removes_itself_is_removed_from_the_copy():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5, dtype=torch.float64)
            self.handle = self.linear.register_forward_hook(self.once, with_kwargs=True)

        def once(self, module, args, kwargs, output):
            self.handle.remove()
            return output + 1

        def forward(self, x):
            return self.linear(self.linear(x))

    target = Once()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W, b = net.generate(c).values()
    for _ in range(2):
        close(net(x, condition=c), (x @ W.T + b + 1) @ W.T + b)
    assert_unchanged(target, before)


def test_slots_of_a_module():
    class WithSlots(nn.Module):
        __slots__ = ("layers",)

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5, dtype=torch.float64)
            object.__setattr__(self, "layers", [self.linear])

        def forward(self, x):
            return self.layers[0](x)

    net = hn.HyperNetwork(WithSlots(), hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W, b = net.generate(c).values()
    close(net(x, condition=c), x @ W.T + b)


def replace_module(target):
    target[1] = nn.Tanh()


def hook_module(target):
    target[1].register_forward_hook(lambda module, args, output: 3 * output)


def patch_forward(target):
    target[1].forward = types.MethodType(lambda self, x: x.cos(), target[1])


def change_class(target):
    target[1].__class__ = nn.Sigmoid


def refer(target):
    target[1].inplace = False
    target[1].__class__ = Referring
    target[1].inplace = (target[2],)


class Referring(nn.ReLU):
    def forward(self, x):
        return x + 0 * self.inplace[0].weight.sum()


@pytest.mark.parametrize("change", [replace_module, hook_module, patch_forward, change_class, refer, nn.Module.eval])
def test_a_target_that_is_changed_between_calls_runs_as_it_is_now(change):
    target = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.Dropout(0.5)).double()
    target[3].p = 0.0
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    y = net(x, condition=c)
    change(target)
    W = net.generate(c)
    h = target[1](x @ W["0.weight"].T + W["0.bias"])
    close(net(x, condition=c), h @ W["2.weight"].T + W["2.bias"])
    assert change in (nn.Module.eval, refer) or not torch.equal(net(x, condition=c), y)


def other_number(target):
    target[1].negative_slope = 0.5


def other_hooks(target):
    target[1]._forward_hooks = collections.OrderedDict()


def other_order(target):
    target._modules = {name: target._modules[name] for name in ("1", "0", "2", "3")}


def other_parameters(target):
    target[0]._parameters = dict(target[0]._parameters)


def tensor_for_a_number(target):
    target[0].in_features = torch.ones(2)


def array_for_a_number(target):
    target[0].in_features = numpy.ones(2)


@pytest.mark.parametrize(
    "changes",
    [
        (other_number,),
        (other_hooks, hook_module),
        (other_order,),
        (other_parameters, other_number),
        (tensor_for_a_number,),
        (array_for_a_number, other_number),
        (nn.Module.eval, other_number, nn.Module.train, hook_module, nn.Module.eval),
        (lambda target: target[1].eval(), hook_module),
    ],
)
def test_changes_of_what_a_target_consists_of_take_effect_one_by_one(changes):
    target = nn.Sequential(nn.Linear(5, 5), nn.LeakyReLU(), nn.Linear(5, 5), nn.Dropout(0.0)).double()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    for change in (lambda target: None, *changes):
        change(target)
        close(net(x, condition=c), torch.func.functional_call(target, net.generate(c), (x,)))


def test_a_target_whose_parameters_have_other_names_now():
    target = mlp()
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net(x, condition=c)
    del target[1]
    with pytest.raises(ValueError, match=r"changed since it was wrapped: added \['1\.weight', '1\.bias'\]"):
        net(x, condition=c)
