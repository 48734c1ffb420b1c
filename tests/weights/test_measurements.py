"""When a target is measured again: each call has what a loop over the samples has, whatever has changed since the last."""

import enum

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .dense import double
from .loops import in_a_loop, same_as_in_a_loop, served, why
from .targets import C, close, shake

B = 5


class Layout(enum.Enum):
    BATCH_FIRST = 0
    TIME_FIRST = 1


class Settings:
    """A configuration, as transformers has."""

    def __init__(self):
        self.time_first = False
        self.inner = {"time_first": False}


class Target(nn.Module):
    """A linear layer, and a way to transpose what it reads."""

    def __init__(self, transposed, **attributes):
        super().__init__()
        self.linear = nn.Linear(4, 4, **double)
        self.transposed = transposed
        self.register_buffer("flag", torch.tensor(False))
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.linear(x.transpose(0, 1)).transpose(0, 1) if self.transposed(self) else self.linear(x)


CHANGES = {
    "a tuple": (lambda t: t.order[0], {"order": (0, 1)}, lambda t: setattr(t, "order", (1, 0))),
    "a list": (lambda t: t.order[0], {"order": [0, 1]}, lambda t: t.order.reverse()),
    "a dict": (
        lambda t: t.how["time first"],
        {"how": {"time first": False}},
        lambda t: t.how.update({"time first": 1}),
    ),
    "a set": (lambda t: 1 in t.chosen, {"chosen": set()}, lambda t: t.chosen.add(1)),
    "the sign of a float": (lambda t: t.level > 0, {"level": 0.0}, lambda t: setattr(t, "level", 0.5)),
    "an enum": (
        lambda t: t.layout is Layout.TIME_FIRST,
        {"layout": Layout.BATCH_FIRST},
        lambda t: setattr(t, "layout", Layout.TIME_FIRST),
    ),
    "an object": (
        lambda t: t.config.time_first,
        {"config": Settings()},
        lambda t: setattr(t.config, "time_first", True),
    ),
    "a dict in an object": (
        lambda t: t.config.inner["time_first"],
        {"config": Settings()},
        lambda t: t.config.inner.update(time_first=True),
    ),
    "a flag": (lambda t: t.flag, {}, lambda t: t.flag.fill_(True)),
    "a flag that is replaced": (lambda t: t.flag, {}, lambda t: setattr(t, "flag", torch.tensor(True))),
    "a flag that is loaded": (
        lambda t: t.flag,
        {},
        lambda t: t.load_state_dict({**t.state_dict(), "flag": torch.tensor(True)}),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_setting(change):
    """B = T, so that nothing else could show it. The samples are in another dimension after the change."""
    transposed, attributes, apply = CHANGES[change]
    net = hn.HyperNetwork(Target(transposed, **attributes), hn.LowRankGenerator(C, rank=2), "linear.*")
    shake(net)
    x, c = torch.randn(B, B, 4, **double), torch.randn(B, C, **double)
    same_as_in_a_loop(net, [x], c)
    apply(net.target)
    same_as_in_a_loop(net, [x], c)
    assert served(net), why(net)


def test_an_enum_as_argument():
    class Either(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4, **double)

        def forward(self, x, layout):
            if layout is Layout.TIME_FIRST:
                return self.linear(x.transpose(0, 1)).transpose(0, 1)
            return self.linear(x)

    net = hn.HyperNetwork(Either(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, B, 4, **double), torch.randn(B, C, **double)
    for layout in Layout:
        expected = torch.cat([net(x[n : n + 1], layout, condition=c[n]) for n in range(B)])
        close(net(x, layout, condition=c), expected)


class Gated(nn.Module):
    """x ↦ W x + g · mean of x over the batch; g starts at zero."""

    def __init__(self, size=(), how=nn.Parameter):
        super().__init__()
        self.linear = nn.Linear(4, 4, **double)
        gate = torch.zeros(size, **double)
        if how is nn.Parameter:
            self.gate = nn.Parameter(gate)
        elif how is float:
            self.gate = 0.0
        else:
            self.register_buffer("gate", gate)

    def forward(self, x):
        return self.linear(x) + self.gate * x.mean(0, keepdim=True)


@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("size", [(), (4,)])
@pytest.mark.parametrize("how", [nn.Parameter, "buffer"])
def test_a_gate_that_is_zero(how, size, value):
    """It hides that the samples are mixed, but its gradient is that of the mixture, and it may be opened later."""
    net = hn.HyperNetwork(Gated(size, how), hn.LowRankGenerator(C, rank=2), "linear.*")
    shake(net.generator)
    x, c = torch.randn(B, 4, **double), torch.randn(B, C, **double)
    same_as_in_a_loop(net, [x], c)
    net.target.gate.data.fill_(value)
    same_as_in_a_loop(net, [x], c)
    assert not served(net)
    assert net.target.gate.unique().tolist() == [value]


def test_tied_gates_and_generated_zeros():
    """A generated parameter of zeros, under two names, is none of the tensors that a measurement replaces."""

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4, **double), nn.Linear(4, 4, **double)
            self.second.weight = self.first.weight
            nn.init.zeros_(self.first.weight)
            self.one = nn.Parameter(torch.zeros(4, **double))
            self.other = self.one

        def forward(self, x):
            return self.second(self.first(x)) + (self.one - self.other) * x.mean(0) + self.one

    net = hn.HyperNetwork(Tied(), hn.FullGenerator(C), "first.*")
    shake(net.generator)
    same_as_in_a_loop(net, [torch.randn(B, 4, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def test_a_float_that_was_zero():
    net = hn.HyperNetwork(Gated(how=float), hn.LowRankGenerator(C, rank=2), "linear.*")
    shake(net)
    x, c = torch.randn(B, 4, **double), torch.randn(B, C, **double)
    same_as_in_a_loop(net, [x], c)
    net.target.gate = 1.0
    same_as_in_a_loop(net, [x], c)
    assert not served(net)


def test_training_and_annealing_measure_once(monkeypatch):
    """Values of weights and of floats change at each step. Long lists are not compared."""
    measured = []
    probe = hn.weights.per_sample.call.probe
    monkeypatch.setattr(hn.weights.per_sample.call, "probe", lambda *given: measured.append(1) or probe(*given))
    target = nn.Sequential(nn.Linear(4, 4, **double), nn.LayerNorm(4, **double), nn.Linear(4, 4, **double))
    target.temperature = 1.0
    target.names = [f"token {n}" for n in range(1000)]
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2), "2.*")
    shake(net.generator)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for step in range(5):
        target.temperature = 1 / (step + 1)
        net(torch.randn(B, 4, **double), condition=torch.randn(B, C, **double)).square().sum().backward()
        optimizer.step()
        assert len(measured) == 1
    assert served(net)


def test_inputs_that_all_have_the_same_largest_value():
    """Saturated images, for example: dividing by the largest of all is not seen in the changed rows."""

    class Divided(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4, **double)

        def forward(self, x):
            return self.linear(x / x.amax())

    net = hn.HyperNetwork(Divided(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.rand(B, 8, 4, **double), torch.randn(B, C, **double)
    x[:, ::2] = 1.0
    close(net(x, condition=c), in_a_loop(net, [x], c))
    x = torch.rand(B, 8, 4, **double) * torch.arange(1, B + 1)[:, None, None]
    same_as_in_a_loop(net, [x], c)
    assert not served(net)


@pytest.mark.parametrize("trains", [True, False])
def test_whether_a_weight_takes_gradients(trains):
    """As a made weight would."""

    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4, **double)

        def forward(self, x):
            asked.append((self.linear.bias.requires_grad, self.linear.weight.mT.requires_grad))
            return self.linear(x) * (2 if self.linear.bias.requires_grad else 1)

    asked = []
    net = hn.HyperNetwork(Asks(), hn.FullGenerator(C))
    shake(net)
    net.generator.requires_grad_(trains)
    x, c = torch.randn(B, 4, **double), torch.randn(B, C, **double)
    expected = in_a_loop(net, [x], c)
    close(net(x, condition=c), expected)
    assert served(net), why(net)
    assert {*asked} == {(trains, trains)}
