"""Orders that a target computes itself: of samples they are never taken for a layout, within a sample they are served."""

import pytest
import torch

from .dense import B, double, wrapped
from .loops import in_a_loop, same_as_in_a_loop, served, why
from .targets import C, close


def sorted_rows(net, x):
    """Sorts all rows, calls the layers, and puts the rows back."""
    rows = x.flatten(0, 1)
    order = rows[:, 0].argsort()
    return net.b(net.a(rows[order]))[order.argsort()].view_as(x)


def routed(net, x):
    """Two experts: a row's sign says which."""
    rows, out = x.flatten(0, 1), torch.zeros_like(x).flatten(0, 1)
    first = rows[:, 0] > 0
    out[first] = net.a(rows[first])
    out[~first] = net.b(rows[~first])
    return out.view_as(x)


@pytest.mark.parametrize("forward", [sorted_rows, routed], ids=["sorted", "routed"])
def test_an_order_that_depends_on_the_values_is_never_taken_for_a_layout(forward):
    """With rows that are in order, the samples seem to be in their places; with others they are not."""
    net = wrapped(forward)
    in_order = torch.arange(1.0, 1 + B * B * B, **double).view(B, B, B)
    c = torch.randn(B, C, **double)
    for x in (in_order, torch.randn(B, B, B, **double)):
        if forward is routed:  # vmap has no rule for boolean indices
            with pytest.raises(RuntimeError, match="A loop always can"):
                net(x, condition=c)
        else:
            close(net(x, condition=c), in_a_loop(net, [x], c))
        assert not served(net)


def by_length(net, x, lengths):
    """The longest first, as before packing."""
    order = lengths.argsort(descending=True, stable=True)
    y = net.b(net.a(x.index_select(0, order)))
    return y[order.argsort()]


def shuffled(net, x):
    order = torch.randperm(len(x))
    return net.b(net.a(x[order]))[order.argsort()]


def scattered(net, x):
    order = torch.randperm(len(x))
    y = net.b(net.a(torch.zeros_like(x).index_copy(0, order, x)))
    return y[order]


def test_orders_of_the_samples_are_not_served():
    """The first order is that of the samples, so that they are in their places; the second is not."""
    c, x = torch.randn(B, C, **double), torch.randn(B, B, B, **double)
    net = wrapped(by_length)
    for lengths in (torch.full((B,), 2), torch.tensor([1, 3, 2, 4])):
        close(
            net(x, lengths, condition=c),
            torch.cat([net(x[n : n + 1], lengths[n : n + 1], condition=c[n]) for n in range(B)]),
        )
        assert not served(net)
    for forward in (shuffled, scattered):
        net = wrapped(forward)
        for _ in range(4):  # two samples are in their places half of the time
            same_as_in_a_loop(net, [x[:2]], c[:2])
            assert not served(net)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.a(x)[torch.arange(len(x)), x[:, :, 0].argmax(1)],
        lambda net, x: net.b(net.a(x).gather(1, x[:, :2, :1].argsort(1).expand(-1, -1, B))),
        lambda net, x: net.b(net.a(x).sort(1)[0].topk(2, 1)[0]),
        lambda net, x: net.b(net.a(x)[:, torch.randperm(B, generator=torch.Generator().manual_seed(len(x) * 0))]),
        lambda net, x: net.b(net.a(x)[..., [2, 0, 1, 3]][:, [1, 2]]),
    ],
    ids=["last token", "gathered", "sorted", "shuffled tokens", "a list"],
)
def test_orders_within_a_sample_are_served(forward):
    net = wrapped(forward, modules="a*")
    same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)
