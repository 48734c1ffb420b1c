"""Where the samples are in arguments and results: as stated, or as the target's documentation says."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .dense import B, double, wrapped
from .loops import same_as_in_a_loop, served, why
from .targets import C, close, shake


@pytest.mark.parametrize("batch_first", [True, False])
def test_masks_of_attention_are_shared_and_masks_of_padding_are_not(batch_first):
    own = {"dim_feedforward": 6, "dropout": 0.0, "batch_first": batch_first, **double}
    net = hn.HyperNetwork(nn.TransformerEncoderLayer(4, 2, **own), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, B, 4, **double), torch.randn(B, C, **double)
    causal = torch.triu(torch.ones(B, B, dtype=torch.bool), 1)
    padding = torch.zeros(B, B, dtype=torch.bool)
    padding[1, 2:] = padding[3, 3:] = True
    y = net(x, causal, padding, condition=c)
    dim = 0 if batch_first else 1
    for n in range(B):
        one = net(x.narrow(dim, n, 1), causal, padding[n : n + 1], condition=c[n])
        close(y.narrow(dim, n, 1), one)
    assert served(net), why(net)


def test_stated_dimensions_and_shared_arguments():
    net = wrapped(lambda net, x, scale, *, shift: (net.b(net.a(x) * scale) + shift).transpose(0, 1))
    x, c = torch.randn(3, B, B, **double), torch.randn(B, C, **double)
    scale, shift = torch.randn(B, **double), torch.randn(B, B, **double)
    y = net(x, scale, shift=shift, condition=c, in_dims=(1, None), out_dims=0)
    assert y.shape == (B, 3, B)
    for n in range(B):
        close(y[n : n + 1], net(x[:, n : n + 1], scale, shift=shift[n : n + 1], condition=c[n]))
    same = net(x, scale, shift=shift, condition=c, in_dims={0: 1, 1: None, "shift": 0})
    close(y, same)
    net.target.run = lambda net, x: net.b(net.a(x))
    same_as_in_a_loop(net, [x], c, dim=1, in_dims=1, out_dims=1)


@pytest.mark.parametrize("mixed", [False, True], ids=["whole batch", "vmap"])
def test_several_samples_for_each_condition(mixed):
    n = 3
    more = (lambda net: (net.a.weight**2).sum()) if mixed else (lambda net: 0)
    net = wrapped(lambda net, x: net.b(torch.tanh(net.a(x))) + more(net))
    same_as_in_a_loop(net, [torch.randn(B * n, 5, B, **double)], torch.randn(B, C, **double), samples_per_condition=n)
    assert served(net) != mixed


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"in_dims": (0, 0)}, "in_dims has 2 entries for 1 positional"),
        ({"in_dims": {"y": 0}}, "in_dims has \\['y'\\], but the arguments are \\[0\\]"),
        ({"in_dims": 1}, "with the batch in dimension 1"),
        ({"samples_per_condition": 2}, "4 rows with 2 samples each"),
        ({"out_dims": None}, "out_dims should be a dimension"),
    ],
)
def test_dimensions_that_do_not_fit_are_refused(stated, message):
    net = wrapped(lambda net, x: net.a(x))
    with pytest.raises(ValueError, match=message):
        net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double), **stated)


def test_a_loss_is_that_of_each_sample():
    net = wrapped(lambda net, x: net.a(x).square().mean())
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    losses = net(x, condition=c)
    assert losses.shape == (B,)
    close(losses, torch.stack([net(x[n : n + 1], condition=c[n]) for n in range(B)]))
    close(net(x[:1], condition=c[:1]), losses[:1])


def test_what_is_returned_without_samples_is_refused():
    net = wrapped(lambda net, x: net.a(x).sum((0, 1)))
    with pytest.raises(ValueError, match="return it with the batch there, or state out_dims"):
        net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))


def test_numbers_of_samples_and_dimensions_that_cannot_be():
    net = hn.HyperNetwork(nn.Linear(4, 3), hn.LowRankGenerator(C, rank=2))
    x, c = torch.randn(B, 4), torch.randn(B, C)
    with pytest.raises(ValueError, match="weights for each sample need at least one sample, got none"):
        net(x[:0], condition=c[:0])
    with pytest.raises(ValueError, match="samples_per_condition should be at least 1, got 0"):
        net(x, condition=c, samples_per_condition=0)
    with pytest.raises(TypeError, match=r"samples_per_condition should be a whole number, got 1\.5"):
        net(x, condition=c, samples_per_condition=1.5)
    for wrong in ("a", 1.5, (0, "b"), [None], {0: 0}):
        with pytest.raises(TypeError, match="out_dims should be a dimension, or one for each returned tensor, got "):
            net(x, condition=c, out_dims=wrong)
    with pytest.raises(ValueError, match=r"in_dims says 5 for argument 0, but a tensor in it has shape"):
        net(x, condition=c, in_dims=5)


@pytest.mark.parametrize("out_dims", [1, -2])
@pytest.mark.parametrize("form", ["forms", "vmap"])
def test_negative_dimensions_of_several_samples_per_condition(form, out_dims):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 5, **double)

        def forward(self, x):
            if form == "forms":
                return self.linear(x)
            return torch.einsum("...i,oi->...o", x, self.linear.weight) + self.linear.bias

    net = hn.HyperNetwork(Rows(), hn.LowRankGenerator(C, rank=1))
    shake(net)
    x, c = torch.randn(7, 6, 6, **double), torch.randn(2, C, **double)
    y = net(x, condition=c, in_dims=1, out_dims=out_dims, samples_per_condition=3)
    assert served(net) == (form == "forms")
    close(y, torch.cat([net(x[:, :3], condition=c[0]), net(x[:, 3:], condition=c[1])], 1))


def test_a_number_for_several_samples_is_refused():
    class Total(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 5, **double)

        def forward(self, x):
            return torch.einsum("ni,oi->", x, self.linear.weight)

    net = hn.HyperNetwork(Total(), hn.LowRankGenerator(C, rank=1))
    for out_dims in (0, -1):
        with pytest.raises(ValueError, match=r"has shape \(\) for one sample, with no batch of 3 in dimension"):
            net(
                torch.randn(6, 6, **double),
                condition=torch.randn(2, C, **double),
                out_dims=out_dims,
                samples_per_condition=3,
            )
