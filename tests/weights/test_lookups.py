"""Generated tables that all samples look up at the same places: positions and token types, with as many tokens as samples."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn

from .dense import B, double
from .loops import same_as_in_a_loop, served, why
from .targets import C, shake

T, D = B, 4  # every dimension of an index could be that of the samples
GENERATORS = {
    "low-rank": lambda: hn.LowRankGenerator(C, rank=2),
    "row-scale": lambda: hn.RowScaleGenerator(C),
    "full": lambda: hn.FullGenerator(C, hidden=()),
}


class Tokens(nn.Module):
    """Tokens with positions, or with types, in a network that decides by values, as masks of transformers do."""

    def __init__(self, add):
        super().__init__()
        self.add = add
        self.token, self.own = nn.Embedding(9, D, **double), nn.Embedding(2 * T, D, padding_idx=1, **double)
        self.norm, self.dense = nn.LayerNorm(D, **double), nn.Linear(D, D, **double)
        self.register_buffer("places", torch.arange(2 * T)[None], persistent=False)

    def forward(self, tokens):
        if (tokens < 0).any():  # vmap cannot
            raise ValueError("negative")
        x = self.dense(self.norm(self.add(self, tokens)).tanh())
        return x + x.cumsum(1)


SHARED = {
    "(T,)": lambda net, t: net.token(t) + net.own(torch.arange(t.shape[1])),
    "(1, T)": lambda net, t: net.token(t) + net.own(net.places[:, : t.shape[1]]),
    "(B, T), one type": lambda net, t: net.token(t) + net.own(torch.zeros_like(t)),
    "(B, T), expanded": lambda net, t: net.token(t) + net.own(net.places[:, : t.shape[1]].expand(len(t), -1)),
    "(1, 1)": lambda net, t: net.token(t) + net.own(net.places[:, :1]),
    "one for all tokens": lambda net, t: net.token(t) + net.own(torch.ones(1, dtype=torch.long)[None]),
    "expanded afterwards": lambda net, t: net.token(t) + net.own(net.places[:, : t.shape[1]]).expand(len(t), -1, -1),
    "two": lambda net, t: net.token(t) + net.own(torch.arange(t.shape[1])) + net.own(torch.zeros_like(t)),
}


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("case", SHARED)
def test_an_index_that_all_samples_share(case, generator):
    net = hn.HyperNetwork(Tokens(SHARED[case]), GENERATORS[generator]())
    shake(net)
    same_as_in_a_loop(net, [torch.randint(9, (B, T))], torch.randn(B, C, **double))
    assert served(net), why(net)
    same_as_in_a_loop(net, [torch.randint(9, (B, T + 2))], torch.randn(B, C, **double))


def test_samples_in_the_second_dimension():
    def add(net, tokens):
        return net.token(tokens) + net.own(net.places[:, : len(tokens)].mT)

    class TimeMajor(Tokens):
        def forward(self, tokens):
            return self.dense(self.norm(self.add(self, tokens)).tanh()).cumsum(0)

    net = hn.HyperNetwork(TimeMajor(add), GENERATORS["full"]())
    shake(net)
    tokens, c = torch.randint(9, (T, B)), torch.randn(B, C, **double)
    y = net(tokens, condition=c, in_dims=1, out_dims=1)
    assert served(net), why(net)
    each = [net(tokens[:, n : n + 1], condition=c[n]) for n in range(B)]
    torch.testing.assert_close(y, torch.cat(each, 1))


class Quiet(Tokens):
    """The same without a decision, so that vmap can run it."""

    def forward(self, tokens):
        return self.dense(self.norm(self.add(self, tokens)).tanh())


REFUSED = {
    "a shape that the target relies on": lambda net, t: (
        net.token(t) + net.own(torch.arange(t.shape[1])).t().contiguous().t().reshape(1, t.shape[1], D)
    ),
    "transposed": lambda net, t: net.token(t) + net.own(torch.arange(t.shape[1])).T.T,
    "the same table in a product": lambda net, t: (
        net.token(t) + net.own(torch.arange(t.shape[1])) + F.linear(net.token(t), net.own.weight[:D])
    ),
    "a mean over its rows": lambda net, t: net.token(t) + net.own(torch.arange(t.shape[1])).mean(0),
    "in an order of its own": lambda net, t: net.token(t) + net.own(torch.arange(t.shape[1])).sort(0).values,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_repeated_index_would_change_runs_sample_by_sample(case):
    net = hn.HyperNetwork(Quiet(REFUSED[case]), GENERATORS["full"]())
    shake(net)
    same_as_in_a_loop(net, [torch.randint(9, (B, T))], torch.randn(B, C, **double))
    assert not served(net)
