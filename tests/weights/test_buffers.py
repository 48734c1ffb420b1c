"""Buffers and attributes that a target assigns: which reach it, and which stay in the copy."""

import copy
import warnings

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import GENERATORS, C, ResidualBlock, close, shake
from .unchanged import assert_unchanged, state_of

B = 4


class Keeps(nn.Module):
    """Keeps what it computes: an attribute, a list, a dictionary, and a buffer, assigned or changed in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.seen = []
        self.tables = {}
        self.register_buffer("running", torch.zeros(5, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        y = self.linear(x)
        self.last = y
        self.seen.append(y)
        self.tables[len(self.tables)] = y
        self.running = 0.9 * self.running + 0.1 * y.detach().mean(0)
        with torch.no_grad():
            self.count += 1
        return y + self.running


@pytest.mark.filterwarnings("ignore:the buffer count of the target was changed:RuntimeWarning")
def test_what_a_target_keeps_does_not_reach_it_but_for_buffers_in_training():
    target = Keeps()
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    shake(net)
    twin = copy.deepcopy(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net.eval()
    before = state_of(target)
    net(x, condition=c)
    assert_unchanged(target, before)
    assert (target.seen, target.tables, hasattr(target, "last")) == ([], {}, False)
    net.train()
    twin.linear.weight.data, twin.linear.bias.data = (tensor.detach() for tensor in net.generate(c).values())
    for _ in range(2):
        close(net(x, condition=c), twin(x))
    close(target.running, twin.running)
    close(target.count, twin.count)
    assert target.count.item() == 2
    assert target.running.grad_fn is None
    assert (target.seen, target.tables, hasattr(target, "last")) == ([], {}, False)
    copy.deepcopy(net)


def test_a_buffer_changed_in_place_in_evaluation_mode_is_named_in_a_warning():
    net = hn.HyperNetwork(Keeps(), GENERATORS["full"]()).eval()
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match=r"the buffer count of the target was changed in evaluation mode.*using"):
        net(x, condition=c)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with net.using(c) as adapted:
            for _ in range(3):
                adapted(x)
        assert adapted.count.item() == 3


def test_a_buffer_that_is_assigned_in_one_graph():
    torch._dynamo.reset()

    class Assigns(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5, dtype=torch.float64)
            self.register_buffer("running", torch.zeros(5, dtype=torch.float64))

        def forward(self, x):
            self.running = 0.9 * self.running + 0.1 * x.mean(0)
            return self.linear(x) + self.running

    net = hn.HyperNetwork(Assigns(), GENERATORS["full"]())
    plain = copy.deepcopy(net)
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    for _ in range(3):
        close(run(x, condition=c), plain(x, condition=c))
        close(net.target.running, plain.target.running)


def test_a_buffer_that_is_registered_while_training():
    class Registers(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 4, dtype=torch.float64)

        def forward(self, x):
            if "mean" not in self._buffers:
                self.register_buffer("mean", x.mean(0), persistent=False)
            return self.linear(x - self.mean)

    target = Registers().eval()
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    before = state_of(target)
    y = net(x, condition=c)
    assert_unchanged(target, before)
    target.train()
    net(x, condition=c)
    close(target.mean, x.mean(0))
    assert list(target.state_dict()) == ["linear.weight", "linear.bias"]
    close(net(x, condition=c), y)


def test_a_buffer_in_two_modules_is_one():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.BatchNorm1d(5).double(), nn.BatchNorm1d(5).double()
            self.b._buffers["running_mean"] = self.a.running_mean

        def forward(self, x):
            return self.b(self.a(x))

    target = Shared()
    plain = copy.deepcopy(target)
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    close(net(x, condition=c), plain(x))
    close(target.a.running_mean, plain.a.running_mean)
    assert target.a.running_mean is target.b.running_mean


@pytest.mark.parametrize("samples", [(), (B,)])
@pytest.mark.parametrize("train", [True, False])
def test_the_target_is_the_same_afterwards(train, samples):
    target = nn.Sequential(ResidualBlock(), nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64)).train(train)
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    before, statistics = state_of(target), [buffer.clone() for buffer in target.buffers()]
    net(
        torch.randn(B, 4, 2, 2, dtype=torch.float64), condition=torch.randn(*samples, C, dtype=torch.float64)
    ).sum().backward()
    if train:  # the running statistics, in the buffers that it has
        assert any(not torch.equal(a, b) for a, b in zip(target.buffers(), statistics, strict=True))
        for buffer, value in zip(target.buffers(), statistics, strict=True):
            buffer.copy_(value)
    assert_unchanged(target, before)
