"""Generated tables of modules with sparse=True: their gradients are dense, only those of a trained table can be sparse."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .dense import B, double
from .loops import served, why
from .targets import C, close, shake

GENERATORS = [hn.LowRankGenerator, hn.RowScaleGenerator, hn.FullGenerator]


class Lookup(nn.Module):
    """A table, a second one that is not generated, and a layer with the first table as its matrix."""

    def __init__(self, sparse):
        super().__init__()
        self.table = nn.Embedding(7, 4, sparse=sparse, **double)
        self.trained = nn.Embedding(7, 4, sparse=sparse, **double)
        self.dense = nn.Linear(4, 7, **double)
        self.dense.weight = self.table.weight

    def forward(self, tokens):
        return self.dense(self.table(tokens) + self.trained(tokens))


def pair(generator, modules=("table", "dense"), of=Lookup):
    """The same network with sparse and with dense gradients."""
    sparse, dense = (hn.HyperNetwork(of(given), generator(C), modules) for given in (True, False))
    shake(sparse)
    dense.load_state_dict(sparse.state_dict())
    return sparse, dense


def same_gradients(sparse, dense):
    for (name, mine), theirs in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        if theirs.grad is not None:
            close(mine.grad.to_dense(), theirs.grad)


@pytest.mark.parametrize("shape", [(C,), (B, C)], ids=["one set", "per sample"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_gradients(generator, shape):
    sparse, dense = pair(generator)
    tokens, c = torch.randint(7, (B, 5)), torch.randn(shape, **double)
    for net in (sparse, dense):
        net(tokens, condition=c).square().sum().backward()
    same_gradients(sparse, dense)
    assert sparse.target.trained.weight.grad.is_sparse
    assert sparse.target.table.sparse
    if len(shape) == 2:
        assert served(sparse), why(sparse)


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_bag(generator):
    sparse, dense = pair(generator, None, lambda sparse: nn.EmbeddingBag(7, 4, mode="sum", sparse=sparse, **double))
    tokens, c = torch.randint(7, (B, 5)), torch.randn(C, **double)
    for net in (sparse, dense):
        net(tokens, condition=c).square().sum().backward()
    same_gradients(sparse, dense)


def test_compiled():
    torch._dynamo.reset()
    sparse, dense = pair(hn.FullGenerator, of=lambda sparse: Lookup(sparse).requires_grad_(False))
    tokens, c = torch.randint(7, (B, 5)), torch.randn(C, **double)
    torch.compile(sparse, fullgraph=True, backend="aot_eager")(tokens, condition=c).square().sum().backward()
    dense(tokens, condition=c).square().sum().backward()
    same_gradients(sparse, dense)
    assert sparse.target.table.sparse
