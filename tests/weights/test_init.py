"""Activations at initialisation: as in the target started by Kaiming's rule; and the three hyperfan forms themselves."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import hypernetworks as hn
from hypernetworks.weights.generators.init import SECOND_MOMENTS, hyperfan_harmonic, hyperfan_in, hyperfan_out

C, SEEDS = 64, 20


class Residual(nn.Module):
    """Three blocks of two convolutions with ReLU and a shortcut; BatchNorm is left out, so there are no biases."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular", bias=False) for _ in range(6)
        )

    def forward(self, x):
        for k in range(0, 6, 2):
            x = x + self.convs[k + 1](self.convs[k](x).relu()).relu()
        return x


def perceptron():
    sizes = (64, 64, 64, 64, 64)
    return nn.Sequential(*(m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())))


def convolutions():
    channels = (16, 32, 32, 16)
    made = (nn.Conv2d(a, b, 3, padding=1, padding_mode="circular") for a, b in pairwise(channels))
    return nn.Sequential(*(m for conv in made for m in (conv, nn.ReLU())))


TARGETS = {
    "perceptron": (perceptron, (128, 64)),
    "convolutions": (convolutions, (16, 16, 6, 6)),
    "residual": (Residual, (16, 16, 6, 6)),
}
GENERATORS = {
    "full": lambda: hn.FullGenerator(C, (128,), init="hyperfan-in"),
    "tiled": lambda: hn.TiledKernelGenerator(64, init="hyperfan-in"),
}


@torch.no_grad()
def variances(target, run):
    """The variance of the output of every layer of the target."""
    seen = []
    layers = [module for module in target.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    hooks = [layer.register_forward_hook(lambda m, i, output: seen.append(output.var())) for layer in layers]
    run()
    for hook in hooks:
        hook.remove()
    return torch.stack(seen)


@torch.no_grad()
def kaiming(target):
    for module in target.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return target


@pytest.mark.parametrize(
    ("kind", "name"), [(k, t) for k in GENERATORS for t in TARGETS if (k, t) != ("tiled", "perceptron")]
)
def test_activations_start_as_in_kaimings_target(kind, name):
    make, shape = TARGETS[name]
    plain, made = [], []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        x = torch.randn(shape)
        target = kaiming(make())
        plain.append(variances(target, lambda t=target, x=x: t(x)))
        target = kaiming(make())  # what is not generated (the biases beside tiled kernels) is zero, as there
        net = hn.HyperNetwork(target, GENERATORS[kind]())
        condition = {} if net.generator.condition_size is None else {"condition": torch.randn(C)}
        made.append(variances(target, lambda n=net, x=x, c=condition: n(x, **c)))
    ratio = torch.stack(made).mean(0) / torch.stack(plain).mean(0)
    print(kind, name, [round(each, 2) for each in ratio.tolist()])
    assert ((ratio > 0.5) & (ratio < 2)).all()


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("moment", [1.0, 4.0])
def test_kernels_have_their_variance_whatever_the_trunk(activation, moment):
    """Var(W) = r / n_in at the end of a trunk of three layers, for conditions of any second moment."""
    found = torch.zeros(SEEDS)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        own = {"init": "hyperfan-in", "activation": activation, "condition_moment": moment}
        net = hn.HyperNetwork(nn.Linear(48, 40, bias=False), hn.FullGenerator(C, (256, 256, 256), **own))
        found[seed] = net.generate(moment**0.5 * torch.randn(16, C))["weight"].var()
    assert found.mean().item() == pytest.approx(2 / 48, rel=0.1)


def test_second_moments_of_activations():
    """E[φ(z)²] by a sum over a fine grid."""
    z = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2)
    for activation, moment in SECOND_MOMENTS.items():
        assert ((activation()(z).square() * density).sum() / density.sum()).item() == pytest.approx(moment, abs=1e-6)


class Sine(nn.Module):
    def __init__(self, omega):
        super().__init__()
        self.omega = omega

    def forward(self, x):
        return (self.omega * x).sin()


@pytest.mark.parametrize("omega", [30.0, 10.0])
@pytest.mark.parametrize("kind", ["full", "low-rank"])
def test_a_generated_siren_has_one_distribution_in_all_layers(kind, omega):
    """sin of N(0, 1) and beyond: the activations have the variance 1/2 of an arcsine distribution, in every layer."""
    sizes = (2, 256, 256, 256, 256)
    target = nn.Sequential(*(m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), Sine(omega))))
    nn.init.constant_(target[2].weight, 7.0)
    hn.siren_(target, omega)
    assert (target[0].weight.abs().max() <= 1 / 2) & (target[0].weight.abs().max() > 0.45)
    bound = (6 / 256) ** 0.5 / omega
    assert (target[4].weight.abs().max() <= bound) & (target[4].weight.abs().max() > 0.99 * bound)
    generator = hn.FullGenerator(2, ()) if kind == "full" else hn.LowRankGenerator(2, rank=1)
    net = hn.HyperNetwork(target, generator)
    seen = []
    for layer in target:
        if isinstance(layer, Sine):
            layer.register_forward_hook(lambda m, i, output: seen.append(output.detach().var().item()))
    net(2 * torch.rand(500, 2) - 1, condition=torch.randn(2))
    assert seen[1:] == pytest.approx([0.5] * 3, abs=0.1)
    with pytest.raises(ValueError, match="omega should be greater than 0"):
        hn.siren_(target, 0.0)


def test_the_forms_keep_moments_on_the_way_forward_and_back():
    """A ReLU layer of the variances that each form wants, measured: E[x²] forward, Var(δ) back."""
    n_in, n_out, rows = 300, 500, 4000
    x, delta = torch.randn(rows, n_in).double(), torch.randn(rows, n_out).double()
    for with_bias in (False, True):
        wanted = hyperfan_in(n_in, n_out, 2.0, with_bias)
        y = x @ (torch.randn(n_in, n_out).double() * wanted.weight**0.5)
        y = y + torch.randn(n_out).double() * wanted.bias**0.5 * with_bias
        assert y.relu().square().mean().item() == pytest.approx(1, rel=0.1)
    wanted = hyperfan_out(n_in, n_out, 2.0, True)
    W = torch.randn(n_in, n_out).double() * wanted.weight**0.5
    y = x @ W + torch.randn(n_out).double() * wanted.bias**0.5
    assert y.relu().square().mean().item() == pytest.approx(1, rel=0.1)
    assert ((y > 0) * delta @ W.T).square().mean().item() == pytest.approx(1, rel=0.1)


def test_the_harmonic_mean_and_a_fan_out_bias_that_is_not_needed():
    assert hyperfan_harmonic(10, 40, 2.0, False).weight == pytest.approx(2 / (10 / 2 + 40 / 2))
    assert hyperfan_out(40, 10, 2.0, True).bias == 0
    assert hyperfan_harmonic(40, 10, 2.0, True).bias == 0


@pytest.mark.parametrize("init", ["hyperfan-in", "hyperfan-out", "hyperfan-harmonic"])
@pytest.mark.parametrize("kind", ["full", "chunked", "tiled"])
def test_generated_kernels_have_the_variance_of_the_form(kind, init):
    form = {"hyperfan-in": hyperfan_in, "hyperfan-out": hyperfan_out, "hyperfan-harmonic": hyperfan_harmonic}[init]
    found = torch.zeros(2)
    for _ in range(SEEDS):
        target = nn.Sequential(nn.Conv2d(16, 32, 3, bias=False), nn.Conv2d(32, 64, 3, bias=False))
        generator = {
            "full": lambda: hn.FullGenerator(C, init=init),
            "chunked": lambda: hn.ChunkedGenerator(C, init=init),
            "tiled": lambda: hn.TiledKernelGenerator(64, init=init),
        }[kind]()
        condition = None if kind == "tiled" else torch.randn(16, C)
        made = hn.HyperNetwork(target, generator).generate(condition)
        found += torch.stack([tensor.detach().var() for tensor in made.values()]) / SEEDS
    wanted = torch.tensor([form(9 * a, 9 * b, 2.0, False).weight for a, b in ((16, 32), (32, 64))])
    assert (found / wanted - 1).abs().max() < 0.25
