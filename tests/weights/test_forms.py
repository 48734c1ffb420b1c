"""Every form with every function that knows forms equals a loop over the samples: generated tensors that are not made."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn
from hypernetworks.weights.forms import Full, LinearHead, LowRank, RowScale
from hypernetworks.weights.layout import Layout

from .loops import same_as_in_a_loop, served, why
from .targets import C, close, shake

B, T = 4, 4  # equal, so that no dimension can be taken for another by its size
double = {"dtype": torch.float64}

FORMS = {
    "head": lambda: hn.FullGenerator(C, hidden=()),
    "trunk": lambda: hn.FullGenerator(C, hidden=(5,)),
    "low-rank": lambda: hn.LowRankGenerator(C, rank=2, alpha=3),
    "row-scale": lambda: hn.RowScaleGenerator(C),
    "shared": lambda: hn.SharedLowRankGenerator(C, rank=2),
    "encoded": lambda: hn.EncodedGenerator(nn.Linear(C, 2), hn.RowScaleGenerator(2), C),
    "residual": lambda: hn.ResidualGenerator(hn.FullGenerator(C)),
    "chain": lambda: hn.GeneratorChain(hn.LowRankGenerator(C, rank=1), hn.RowScaleGenerator(C)),
}


class Call(nn.Module):
    """A layer, and what is done with it."""

    def __init__(self, layer, forward):
        super().__init__()
        self.layer, self.run = layer, forward

    def forward(self, *args):
        return self.run(self.layer, *args)


class Columns(nn.Module):
    """A dense layer with its matrix as (in, out)."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 5, **double)), nn.Parameter(torch.randn(5, **double))


@hn.outputs_last
class DeclaredColumns(Columns):
    """The same, known to generators."""


class Gain(nn.Module):
    """A gain and a shift of the last dimension."""

    def __init__(self):
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.randn(6, **double)), nn.Parameter(torch.randn(6, **double))


def flat(layer, x):
    """A layer that sees time and samples in one dimension."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def interleaved(layer, x):
    """A layer that sees row 0 of all samples, then row 1."""
    return flat(layer, x.transpose(0, 1)).transpose(0, 1)


def addmm(layer, x):
    return torch.addmm(layer.bias, x.flatten(0, 1), layer.weight).unflatten(0, x.shape[:2])


TARGETS = {
    "linear": (lambda: nn.Linear(6, 5, **double), (B, 6)),
    "linear, time": (lambda: nn.Linear(6, 5, **double), (B, T, 6)),
    "linear, no bias": (lambda: nn.Linear(6, 5, bias=False, **double), (B, T, 2, 6)),
    "linear, flat": (lambda: Call(nn.Linear(6, 5, **double), flat), (B, T, 6)),
    "linear, flat, other T": (lambda: Call(nn.Linear(6, 5, **double), flat), (B, 3, 6)),
    "linear, interleaved": (lambda: Call(nn.Linear(6, 5, **double), interleaved), (B, T, 6)),
    "linear, time-major": (
        lambda: Call(nn.Linear(6, 5, **double), lambda layer, x: layer(x.transpose(0, 1)).transpose(0, 1)),
        (B, T, 6),
    ),
    "addmm": (lambda: Call(Columns(), addmm), (B, T, 6)),
    "addmm, declared": (lambda: Call(DeclaredColumns(), addmm), (B, T, 6)),
    "matmul": (lambda: Call(Columns(), lambda layer, x: x @ layer.weight + layer.bias), (B, T, 6)),
    "transposed": (lambda: Call(nn.Linear(6, 5, **double), lambda layer, x: x @ layer.weight.t()), (B, T, 6)),
    "tied": (
        lambda: Call(nn.Linear(6, 6, **double), lambda layer, x: F.linear(layer(x), layer.weight.T)),
        (B, T, 6),
    ),
    "parts": (
        lambda: Call(
            nn.Linear(6, 9, **double),
            lambda layer, x: torch.cat(
                [F.linear(x, w, b) for w, b in zip(layer.weight.chunk(3), layer.bias.chunk(3), strict=True)], -1
            ),
        ),
        (B, T, 6),
    ),
    "slices": (lambda: Call(nn.Linear(6, 9, **double), lambda layer, x: F.linear(x, layer.weight[2:8])), (B, T, 6)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding="same", **double), (B, 4, 7)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1, **double), (B, 4, 6, 6)),
    "conv2d, groups": (
        lambda: nn.Conv2d(4, 6, 3, groups=2, padding_mode="circular", padding=1, **double),
        (B, 4, 5, 5),
    ),
    "conv2d, no bias": (lambda: nn.Conv2d(4, 6, 1, dilation=2, bias=False, **double), (B, 4, 4, 4)),
    "conv2d, frames": (lambda: Call(nn.Conv2d(4, 6, 3, **double), flat), (B, T, 4, 5, 5)),
    "conv2d, interleaved": (lambda: Call(nn.Conv2d(4, 6, 3, **double), interleaved), (B, 3, 4, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(4, 6, 2, **double), (B, 4, 3, 3, 3)),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1, **double), (B, 4, 5)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2, dilation=2, **double), (B, 4, 4, 4)),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(4, 6, 2, bias=False, **double), (B, 4, 3, 3, 3)),
    "gain": (lambda: Call(Gain(), lambda layer, x: layer.gain * x + layer.shift - x / layer.gain), (B, T, 6)),
    "gain of channels": (
        lambda: Call(
            Gain(), lambda layer, x: x * layer.gain.reshape(1, -1, 1, 1) + layer.shift.unsqueeze(-1).view(6, 1, 1)
        ),
        (B, 6, 4, 4),
    ),
    "layer_norm": (lambda: nn.Sequential(nn.LayerNorm(6, **double), nn.Linear(6, 5, **double)), (B, T, 6)),
    "layer_norm, two": (lambda: nn.Sequential(nn.LayerNorm((T, 6), **double), nn.Linear(6, 5, **double)), (B, T, 6)),
    "rms_norm": (lambda: nn.Sequential(nn.RMSNorm(6, **double), nn.Linear(6, 5, **double)), (B, T, 6)),
    "group_norm": (lambda: nn.Sequential(nn.Conv2d(4, 6, 1, **double), nn.GroupNorm(2, 6, **double)), (B, 4, 4, 4)),
    "instance_norm": (
        lambda: nn.Sequential(nn.Conv2d(4, 6, 1, **double), nn.InstanceNorm2d(6, affine=True, **double)),
        (B, 4, 4, 4),
    ),
}


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", TARGETS)
def test_every_function_with_every_form(case, form, train):
    target, shape = TARGETS[case]
    net = hn.HyperNetwork(target(), FORMS[form]()).train(train)
    shake(net)
    same_as_in_a_loop(net, [torch.randn(shape, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


@pytest.mark.parametrize("padding", [None, 2, -1])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["batch", "time-major", "flat"])
def test_embeddings(place, form, padding):
    run = {
        "batch": lambda layer, x: layer(x),
        "time-major": lambda layer, x: layer(x.T).transpose(0, 1),
        "flat": lambda layer, x: layer(x.flatten()).unflatten(0, x.shape),
    }[place]
    net = hn.HyperNetwork(Call(nn.Embedding(7, 6, padding_idx=padding, **double), run), FORMS[form]())
    shake(net)
    x = torch.randint(7, (B, T))
    x[0, :2] = torch.tensor([2, 6])  # the rows for padding
    same_as_in_a_loop(net, [x], torch.randn(B, C, **double))
    assert served(net), why(net)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "own", [{}, {"batch_first": True}, {"bias": False, "add_zero_attn": True}, {"kdim": 6, "vdim": 6}]
)
def test_multi_head_attention(own, form):
    """Self-attention, and attention to another sequence; T, B and the heads are equal."""
    net = hn.HyperNetwork(nn.MultiheadAttention(8, 4, **own, **double), FORMS[form]())
    shake(net)
    dim = 0 if own.get("batch_first") else 1
    other = 6 if "kdim" in own else 8
    shapes = [(B, T, 8), (B, T, other), (B, T, other)]
    args = [torch.randn(shape, **double) for shape in shapes]
    if "kdim" not in own:
        same_as_in_a_loop(net, [args[0]] * 3, torch.randn(B, C, **double), dim)
        assert served(net), why(net)
        net.zero_grad()
    same_as_in_a_loop(net, args, torch.randn(B, C, **double), dim)
    assert served(net), why(net)


@pytest.mark.parametrize("samples", [1, 2, 3, 8, 9])
def test_any_number_of_samples(samples):
    net = hn.HyperNetwork(Call(nn.Linear(6, 5, **double), interleaved), hn.LowRankGenerator(C, rank=2))
    shake(net)
    same_as_in_a_loop(net, [torch.randn(samples, 2, 6, **double)], torch.randn(samples, C, **double))
    assert samples == 1 or served(net)


def forms():
    q, p, r, m = 5, 6, 2, 3
    yield Full(torch.randn(B, q, p, **double))
    base = torch.randn(q, p, **double)
    yield LowRank(base, torch.randn(B, q, r, **double), torch.randn(B, r, p, **double), 1.5)
    yield RowScale(base, torch.randn(B, q, **double))
    yield RowScale(base, torch.randn(B, p, **double), 1)
    yield LinearHead(
        torch.randn(q * p, m, **double), torch.randn(q * p, **double), torch.randn(B, m, **double), torch.Size((q, p))
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("each", [1, 50], ids=["few rows", "many rows"])
@pytest.mark.parametrize("form", [*forms()], ids=lambda form: type(form).__name__)
def test_products_equal_those_with_made_tensors(form, each, transposed):
    """Few rows take the cheap way of a form, many the other where there is one."""
    W = form.materialize()
    assert W.shape == (B, *form.shape)
    W = W if transposed else W.mT
    x = torch.randn(B, each, W.shape[1], **double)
    close(form.product(x.flatten(0, 1), Layout(B, 0, each), transposed).view(B, each, -1), x @ W)


@pytest.mark.parametrize("form", [*forms()], ids=lambda form: type(form).__name__)
def test_parts_of_forms(form):
    W = form.materialize()
    close(form.narrow(1, 4).materialize(), W[:, 1:4])
    close(form.sample(2).materialize(), W[2:3])
    assert form.to(torch.float32).materialize().dtype == torch.float32


@pytest.mark.parametrize("kind", FORMS)
def test_forms_of_a_generator_are_what_it_generates(kind):
    target = nn.Sequential(
        nn.ConvTranspose2d(4, 4, 1, **double),
        nn.Conv2d(4, 6, 3, **double),
        nn.Flatten(),
        nn.Linear(6, 5, **double),
        nn.LayerNorm(5, **double),
    )
    net = hn.HyperNetwork(target, FORMS[kind]())
    shake(net)
    c, own = torch.randn(B, C, **double), net._own()
    made = net.generate(c)
    found = net.generator.forms(c, own)
    assert found.keys() == made.keys()
    for name, form in found.items():
        close(form.materialize(), made[name])
