"""Inputs that all samples share: each set of weights is applied to all of them, and the results are stacked."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import GENERATORS, C, close, mlp, shake

B, N = 4, 5
double = {"dtype": torch.float64}


@pytest.mark.parametrize("out_dim", [0, 1, -1])
@pytest.mark.parametrize("kind", GENERATORS)
def test_one_more_dimension_with_the_samples(kind, out_dim):
    net = hn.HyperNetwork(mlp(), GENERATORS[kind]())
    shake(net)
    x, c = (torch.randn(size, **double).requires_grad_() for size in ((N, 5), (B, C)))
    y = net(x, condition=c, in_dims=None, out_dims=out_dim)
    expected = torch.stack([net(x, condition=c[n]) for n in range(B)], out_dim)
    close(y, expected)
    assert (expected.select(out_dim, 0) - expected.select(out_dim, 1)).abs().max() > 1e-3
    cotangent = torch.randn_like(y)
    leaves = [x, c, *(p for p in net.parameters() if p.requires_grad)]
    for a, b in zip(
        torch.autograd.grad((y * cotangent).sum(), leaves),
        torch.autograd.grad((expected * cotangent).sum(), leaves),
        strict=True,
    ):
        close(a, b)


class Reads(nn.Module):
    """Takes a dict, and returns several tensors, one of them a number."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4, **double)

    def forward(self, given=None):
        y = self.linear(torch.ones(5, **double) if given is None else given["x"])
        return {"y": y, "sum": y.sum()}


@pytest.mark.parametrize("given", [{"x": torch.randn(N, 5, **double)}, None], ids=["a dict", "no tensors"])
@pytest.mark.parametrize("in_dims", [None, (None,)])
def test_any_structure_of_inputs_and_results(given, in_dims):
    net = hn.HyperNetwork(Reads(), hn.FullGenerator(C))
    shake(net)
    c = torch.randn(B, C, **double)
    result = net(given, condition=c, in_dims=in_dims)
    assert result["sum"].shape == (B,)
    for n in range(B):
        one = net(given, condition=c[n])
        close(result["y"][n], one["y"])
        close(result["sum"][n], one["sum"])
    with pytest.raises(ValueError, match="in_dims=None says that all samples share the inputs"):
        net(condition=c)


def test_one_condition_and_given_weights():
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C))
    x, c = torch.randn(N, 5, **double), torch.randn(1, C, **double)
    close(net(x, condition=c, in_dims=None), net(x, condition=c[0])[None])
    close(net(x, weights=net.generate(c), in_dims=None), net(x, condition=c[0])[None])


def test_batch_norm_normalises_over_all_samples_and_rows():
    norm = nn.BatchNorm1d(4, **double)
    net = hn.HyperNetwork(nn.Sequential(nn.Linear(5, 4, **double), norm), hn.FullGenerator(C), nn.Linear)
    shake(net)
    x, c = torch.randn(N, 5, **double), torch.randn(B, C, **double)
    made = net.generate(c)
    flat = (torch.einsum("boi,ni->bno", made["0.weight"], x) + made["0.bias"][:, None]).flatten(0, 1)
    y = net(x, condition=c, in_dims=None)
    close(y, nn.functional.batch_norm(flat, None, None, norm.weight, norm.bias, True).unflatten(0, (B, N)))
    close(norm.running_mean, 0.1 * flat.mean(0))


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"samples_per_condition": 2}, "samples_per_condition is 2, but all samples share all inputs"),
        ({"out_dims": 3}, "out_dims is 3, but a result for all samples has 3 dimensions"),
        ({"out_dims": None}, "out_dims should be a dimension"),
    ],
)
def test_what_does_not_fit_is_refused(stated, message):
    net = hn.HyperNetwork(mlp(), hn.FullGenerator(C))
    with pytest.raises(ValueError, match=message):
        net(torch.randn(N, 5, **double), condition=torch.randn(B, C, **double), in_dims=None, **stated)
