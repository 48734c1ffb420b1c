"""Fans and rows of every kind of layer, by what they are for: the variance of outputs and of gradients, and scaled outputs."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn
from hypernetworks.weights.selection import select

from .targets import C, close, shake

SEEDS = 40


@hn.outputs_last
class InputsFirst(nn.Module):
    """A linear layer that stores its matrix as (in, out)."""

    def __init__(self, n_in, n_out, **own):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out, **own))

    def forward(self, x):
        return x @ self.weight


class Derived(InputsFirst):
    pass


def gpt2_layer(n_in, n_out):
    layer = pytest.importorskip("transformers.pytorch_utils").Conv1D(n_out, n_in)
    nn.init.zeros_(layer.bias)
    return layer


def conv(kind, *sizes, **own):
    return lambda: getattr(nn, kind)(*sizes, bias=False, **own)


LAYERS = {
    "linear": (lambda: nn.Linear(24, 48, bias=False), (64, 24)),
    "inputs first": (lambda: InputsFirst(24, 48), (64, 24)),
    "derived": (lambda: Derived(24, 48), (64, 24)),
    "gpt-2": (lambda: gpt2_layer(24, 48), (64, 24)),
    "conv": (conv("Conv2d", 6, 12, 3), (4, 6, 16, 16)),
    "strided": (conv("Conv2d", 6, 12, 3, stride=2), (4, 6, 33, 33)),
    "grouped, dilated": (conv("Conv1d", 8, 16, 5, groups=4, dilation=2, stride=3), (8, 8, 100)),
    "transposed": (conv("ConvTranspose2d", 6, 12, 3), (4, 6, 16, 16)),
    "transposed, stride 2": (conv("ConvTranspose2d", 6, 12, 4, stride=2), (4, 6, 16, 16)),
    "transposed, stride 2, field 3": (conv("ConvTranspose2d", 6, 12, 3, stride=2), (4, 6, 16, 16)),
    "transposed, grouped, dilated": (conv("ConvTranspose1d", 8, 16, 5, groups=2, dilation=2, stride=3), (8, 8, 60)),
    "transposed, 3d": (conv("ConvTranspose3d", 4, 6, 2, stride=2), (2, 4, 8, 8, 8)),
}


def inner(y):
    """Without the edges: the middle part of every spatial dimension, whole periods of the strides 2 and 3."""
    for dim in range(2, y.dim()):
        length = y.shape[dim] // 2 // 6 * 6 or 6
        y = y.narrow(dim, (y.shape[dim] - length) // 2, length)
    return y


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_have_variance_one(name):
    make, shape = LAYERS[name]
    forward, backward = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        for init, into in (("hyperfan-in", forward), ("hyperfan-out", backward)):
            net = hn.HyperNetwork(make(), hn.FullGenerator(64, (), init=init, gain=1.0), "weight")
            x = torch.randn(shape, requires_grad=True)
            y = net(x, condition=torch.randn(64))
            (gradient,) = torch.autograd.grad(y, x, torch.randn_like(y))
            into.append(inner(y if init == "hyperfan-in" else gradient).var())
    assert torch.stack(forward).mean().item() == pytest.approx(1, rel=0.15)
    assert torch.stack(backward).mean().item() == pytest.approx(1, rel=0.15)


def test_layers_of_several_matrices():
    def fans(module):
        return {w.name: (w.kind, w.fan_in, w.fan_out) for w in select(module, None)}

    assert fans(nn.Bilinear(3, 4, 5)) == {"weight": ("weight", 12, 20), "bias": ("bias", 12, 20)}
    attention = fans(nn.MultiheadAttention(6, 2, add_bias_kv=True))
    assert attention["in_proj_weight"] == ("weight", 6, 18)  # queries, keys and values of one input
    assert attention["out_proj.weight"] == ("weight", 6, 6)
    assert {attention[name][0] for name in ("in_proj_bias", "bias_k", "bias_v")} == {"other"}
    lstm = fans(nn.LSTM(3, 5, proj_size=2))
    assert lstm["weight_ih_l0"] == ("weight", 3, 20)  # four gates
    assert lstm["weight_hh_l0"] == ("weight", 2, 20)
    assert lstm["weight_hr_l0"] == ("weight", 5, 2)
    assert lstm["bias_ih_l0"][0] == "other"


@pytest.mark.parametrize("name", LAYERS)
def test_scaled_rows_are_scaled_outputs(name):
    make, shape = LAYERS[name]
    layer = make().double()
    x, c = torch.randn(shape, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    net = hn.HyperNetwork(layer, hn.RowScaleGenerator(C), "weight")
    shake(net.generator)
    d = net.generator.head(net.generator.trunk(c))
    dim = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
    for k in range(2):
        made = {"weight": net.generate(c)["weight"][k]}
        y = functional_call(layer, made, (x,))
        close(y, (functional_call(layer, {}, (x,)).movedim(dim, -1) * d[k]).movedim(-1, dim))
        close(made["weight"], net.generate(c[k])["weight"])


@pytest.mark.parametrize("name", LAYERS)
def test_low_rank_updates_have_outputs_as_rows(name):
    """B picks the outputs: with a single row of B the update reaches this output only."""
    make, shape = LAYERS[name]
    layer = make().double()
    x, c = torch.randn(shape, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net = hn.HyperNetwork(layer, hn.LowRankGenerator(C, rank=2), "weight")
    head = net.generator.heads[0][0]
    row = 3
    with torch.no_grad():
        head.bias.view(-1, 2)[row] = torch.tensor([1.0, -2.0])
    dim = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
    change = functional_call(layer, net.generate(c), (x,)) - functional_call(layer, {}, (x,))
    reached = change.movedim(dim, 0).flatten(1).abs().amax(1) > 1e-9
    assert reached.tolist() == [k == row for k in range(len(reached))]


def test_inputs_first_low_rank_is_two_products():
    layer = InputsFirst(24, 48, dtype=torch.float64)
    x, c = torch.randn(7, 24, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net = hn.HyperNetwork(layer, hn.LowRankGenerator(C, rank=2, alpha=3.0))
    shake(net)
    A, B, scale = net.generator.factors(c)["weight"]
    # y = x W + (α / r) B (A x)
    close(net(x, condition=c), x @ layer.weight + scale * x @ A.T @ B.T)


def test_what_cannot_be_declared():
    with pytest.raises(TypeError, match=r"expects a subclass of torch\.nn\.Module, got 3"):
        hn.outputs_last(3)
