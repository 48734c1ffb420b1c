"""What a target writes into its own tensors: once for each call, and nothing from measurements."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn

from .dense import double
from .loops import served, why
from .targets import C, shake

B = 5


def added(t, x):
    t.own.add_(x.mean(0))


def by_operator(t, x):
    t.own += x.mean(0)


def by_item(t, x):
    t.own[0] = x.mean()


def by_data(t, x):
    t.own.data.lerp_(x.mean(0), 0.1)


def new_data(t, x):
    t.own.data = t.own + x.mean(0)


def by_out(t, x):
    torch.mean(x, 0, out=t.own.data)


def by_flag(t, x):
    t.own.add_(x.mean(0))
    F.relu(t.own, True)


def by_view(t, x):
    t.own[1:].mul_(0.5).add_(x.mean())


def a_list(t, x):
    t.listed[0].add_(x.mean(0))


def a_dict(t, x):
    t.named["sum"] += x.mean(0)


def several(t, x):
    torch._foreach_add_([t.own, t.plain], x.mean())


WRITES = [added, by_operator, by_item, by_data, new_data, by_out, by_flag, by_view, a_list, a_dict, several]


class Keeper(nn.Module):
    """A linear layer, and tensors that it keeps something in."""

    def __init__(self, write):
        super().__init__()
        self.linear = nn.Linear(4, 4, **double)
        self.own = nn.Parameter(torch.ones(4, **double), requires_grad=False)
        self.plain = torch.ones(4, **double)
        self.listed = [torch.ones(4, **double)]
        self.named = {"sum": torch.ones(4, **double)}
        self.write = write

    def forward(self, x):
        with torch.no_grad():
            self.write(self, x)
        return self.linear(x)

    def kept(self):
        return torch.cat([self.own.detach(), self.plain, *self.listed, *self.named.values()])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("write", WRITES)
def test_a_call_writes_what_the_target_writes(write, training):
    plain = Keeper(write).train(training)
    net = hn.HyperNetwork(copy.deepcopy(plain), hn.LowRankGenerator(C, rank=2), "linear.*")
    shake(net.generator)
    memory = net.target.own.data_ptr()
    for _ in range(2):
        x = torch.randn(B, 4, **double)
        plain(x)
        net(x, condition=torch.randn(B, C, **double))
        torch.testing.assert_close(net.target.kept(), plain.kept(), rtol=0, atol=1e-15)
    assert served(net), why(net)
    assert write is new_data or net.target.own.data_ptr() == memory


def test_a_table_with_a_largest_norm():
    """Its lookup scales rows of the table."""
    table = nn.Embedding(9, 4, max_norm=0.5, **double)
    target = nn.Sequential(table, nn.Linear(4, 4, **double))
    target.requires_grad_(False)
    plain = copy.deepcopy(target)
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2), "1.*")
    ids = torch.tensor([[0, 1], [2, 3], [4, 4]])
    net(ids, condition=torch.randn(3, C, **double))
    plain(ids)
    torch.testing.assert_close(target[0].weight, plain[0].weight, rtol=0, atol=0)
    torch.testing.assert_close(target[0].weight[5:], table.weight[5:], rtol=0, atol=0)


def test_a_call_that_fails_writes_nothing_from_measurements():
    def write(t, x):
        t.own.add_(1)
        if len(x) == 1 or torch._C._functorch.maybe_current_level() is not None:
            raise RuntimeError("not alone")

    net = hn.HyperNetwork(Keeper(write), hn.LowRankGenerator(C, rank=2), "linear.*")
    with pytest.raises(RuntimeError, match="not alone"):
        net(torch.randn(B, 4, **double), condition=torch.randn(B, C, **double))
    assert net.target.own.tolist() == [2.0] * 4  # of the run that raised


def test_versions_do_not_count_what_is_taken_back():
    """A tensor that an earlier forward pass has saved can still be used by its backward pass."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4, **double)
            self.scale = nn.Parameter(torch.ones(4, **double))

        def forward(self, x):
            return self.linear(x * self.scale)

    net = hn.HyperNetwork(Scaled(), hn.LowRankGenerator(C, rank=2), "linear.*")
    x, c = torch.randn(B, 4, **double), torch.randn(B, C, **double)
    before = net.target.scale._version
    net(x, condition=c).sum().backward()
    assert net.target.scale._version == before
