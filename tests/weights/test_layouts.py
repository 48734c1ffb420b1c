"""Where the samples are in activations is measured; where it cannot be known, each sample runs alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn

from .dense import B, double, wrapped
from .loops import same_as_in_a_loop, served, why
from .targets import C, shake


def windows(net, x):
    """Swin: squares of 2 × 2 places, each a row with its sample first."""
    x = x.view(len(x), 2, 2, 2, 2, B).transpose(2, 3).reshape(-1, 4, B)
    x = net.b(net.a(x))
    return x.view(-1, 2, 2, 2, 2, B).transpose(2, 3).reshape(-1, 4, 4, B)


SERVED = {
    "samples first": (lambda net, x: net.b(torch.tanh(net.a(x))), (B, B, B)),
    "time first": (lambda net, x: net.b(torch.tanh(net.a(x.transpose(0, 1)))).transpose(0, 1), (B, B, B)),
    "flat": (lambda net, x: net.b(torch.tanh(net.a(x.flatten(0, 1)))).unflatten(0, x.shape[:2]), (B, B, B)),
    "interleaved": (
        lambda net, x: net.b(net.a(x.transpose(0, 1).flatten(0, 1))).unflatten(0, (B, -1)).transpose(0, 1),
        (B, B, B),
    ),
    "windows": (windows, (B, 4, 4, B)),
    "heads first": (lambda net, x: net.b(net.a(x.permute(2, 0, 1, 3))).permute(1, 2, 0, 3), (B, B, B, B)),
    "last axis": (lambda net, x: net.b(net.a(x.movedim(0, -2))).movedim(-2, 0), (B, B, B, B)),
}


@pytest.mark.parametrize("case", SERVED)
def test_the_samples_are_found_wherever_they_are(case):
    """All sizes are equal, so only what depends on a sample tells where it is."""
    forward, shape = SERVED[case]
    net = wrapped(forward)
    same_as_in_a_loop(net, [torch.randn(shape, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def by_size(net, x):
    """Takes the dimension of size 4 for time."""
    return net.b(torch.tanh(net.a(x.transpose(0, 1)))).transpose(0, 1) if x.shape[1] == B else net.b(net.a(x))


@pytest.mark.parametrize("steps", [(2, B), (B, 2)])
def test_another_shape_is_measured_again(steps):
    net = wrapped(by_size)
    for T in steps:
        same_as_in_a_loop(net, [torch.randn(B, T, B, **double)], torch.randn(B, C, **double))
        assert served(net), why(net)


NOT_SERVED = {
    "reversed": lambda net, x: net.b(net.a(x.flip(0))).flip(0),
    "an order": lambda net, x: net.b(net.a(x[[0, 2, 1, 3]]))[[0, 2, 1, 3]],
    "mixed": lambda net, x: net.b(net.a(x - x.mean(0))),
    "mixed neighbours": lambda net, x: net.b(net.a(x) + 0.1 * x.roll(1, 0)),
    "mixed only in the result": lambda net, x: net.a(x) - net.b(x).mean(0, keepdim=True),
    "a constant": lambda net, x: net.a(x) + net.b(torch.ones(B, B, B, **double)[: len(x)]),
    "arithmetic on a weight": lambda net, x: F.linear(x, net.a.weight / net.a.weight.norm(), net.b.bias),
    "a weight as an activation": lambda net, x: net.a(x) + net.b(net.a.bias),
}


@pytest.mark.parametrize("case", NOT_SERVED)
def test_what_cannot_be_known_runs_alone(case):
    """In a loop a sample is a batch of one, and so it is under vmap: no sample sees another."""
    net = wrapped(NOT_SERVED[case])
    if case in ("reversed", "an order"):
        # a batch of one has no other order
        net.target.run = {"reversed": lambda net, x: net.b(net.a(x.flip(0))).flip(0)}.get(case, _ordered)
    same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
    assert not served(net)
    y = net(torch.randn(B, B, B, **double), condition=torch.randn(B, C, **double))  # not tried again
    assert y.shape == (B, B, B)
    assert not served(net)


def _ordered(net, x):
    order = [0, 2, 1, 3] if len(x) == B else [0]
    return net.b(net.a(x[order]))[order]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("kind", ["encoder", "decoder", "encoders", "transformer"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_transformers_of_torch_with_as_many_steps_as_samples(kind, batch_first, train):
    """Time-major is their default: no dimension 0 is taken for the batch."""
    own = {"dim_feedforward": 6, "dropout": 0.0, "batch_first": batch_first, **double}
    layer = nn.TransformerEncoderLayer(4, 2, **own)
    target = {
        "encoder": lambda: layer,
        "decoder": lambda: nn.TransformerDecoderLayer(4, 2, **own),
        "encoders": lambda: nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        "transformer": lambda: nn.Transformer(4, 2, 1, 1, **own),
    }[kind]()
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2)).train(train)
    shake(net)
    args = [torch.randn(B, B, 4, **double) for _ in range(2 if kind in ("decoder", "transformer") else 1)]
    same_as_in_a_loop(net, args, torch.randn(B, C, **double), dim=0 if batch_first else 1)
    assert served(net), why(net)


class Axis(nn.Module):
    """Its samples are in the dimension that an attribute says: 0 or 1, and always as many as there are steps."""

    def __init__(self):
        super().__init__()
        self.a, self.time_first = nn.Linear(B, B, **double), False

    def forward(self, x):
        return self.a(x.transpose(0, 1)).transpose(0, 1) if self.time_first else self.a(x)


def test_a_changed_setting_of_a_module_is_measured_again():
    net = hn.HyperNetwork(Axis(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    for time_first in (False, True, False):
        net.target.time_first = time_first
        same_as_in_a_loop(net, [torch.randn(B, B, B, **double)], torch.randn(B, C, **double))
        assert served(net)
    assert len(net._measured._found) == 2
