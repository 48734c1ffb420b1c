"""Encoders of conditions, and generators behind an encoder."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, close, mlp, shake


@pytest.mark.parametrize("make", [lambda: hn.CosSinEncoder(2, -1.0, 3.0), lambda: hn.FourierEncoder(2, 8, 3.0)])
def test_the_norm_does_not_depend_on_the_condition(make):
    encoder = make().double()
    x = encoder(4 * torch.rand(1000, 2, dtype=torch.float64) - 1)
    close(x.square().mean(-1), torch.ones(1000, dtype=torch.float64))
    close(encoder(torch.zeros(2, dtype=torch.float64)), encoder(torch.zeros(1, 2, dtype=torch.float64))[0])


def test_cos_and_sin_of_a_quarter_turn():
    encoder = hn.CosSinEncoder(2, low=1.0, high=3.0)
    x = encoder(torch.tensor([[1.0, 2.0], [3.0, 1.5]], dtype=torch.float64))
    root = 2**0.5
    sixteenth = torch.tensor(torch.pi / 8)
    expected = [[root, 1.0, 0.0, 1.0], [0.0, root * sixteenth.cos(), root, root * sixteenth.sin()]]
    close(x, torch.tensor(expected, dtype=torch.float64), 1e-7)


def test_fourier_features_are_a_stationary_kernel():
    """⟨x(c), x(c')⟩ / 2K → exp(−2π² σ² ‖c − c'‖²), the Fourier transform of N(0, σ²)."""
    torch.manual_seed(0)
    encoder = hn.FourierEncoder(2, 20_000, deviation=0.7).double()
    c, other = torch.randn(2, 50, 2, dtype=torch.float64) / 3
    kernel = (encoder(c) * encoder(other)).mean(-1)
    wanted = torch.exp(-2 * torch.pi**2 * 0.7**2 * (c - other).square().sum(-1))
    assert (kernel - wanted).abs().max() < 0.03


def test_the_generator_gets_the_encoded_condition():
    encoder = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, C))
    net = hn.HyperNetwork(mlp(), hn.EncodedGenerator(encoder, hn.FullGenerator(C), condition_size=5))
    assert encoder[0].weight.dtype == torch.float64  # it follows the target
    shake(net)
    for c in (torch.randn(5, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)):
        made, inner = net.generate(c), net.generator.generator(encoder(c), dict(net.target.named_parameters()))
        assert all(torch.equal(made[name], inner[name]) for name in made)
    sum(tensor.sum() for tensor in made.values()).backward()
    assert encoder[0].weight.grad.abs().sum() > 0


def test_factors_behind_an_encoder():
    net = hn.HyperNetwork(mlp(), hn.EncodedGenerator(hn.CosSinEncoder(1), hn.LowRankGenerator(2, rank=2)), "*.weight")
    shake(net)
    c = torch.rand(1, dtype=torch.float64)
    A, B, scale = net.generator.factors(c)["0.weight"]
    close(net.generate(c)["0.weight"], net.target[0].weight + scale * B @ A)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: hn.EncodedGenerator(torch.sin, hn.FullGenerator(C)), TypeError, "encoder should be a torch.nn.Module"),
        (lambda: hn.EncodedGenerator(nn.Identity(), nn.Identity()), TypeError, "should be a hypernetworks.Generator"),
        (
            lambda: hn.EncodedGenerator(nn.Linear(5, C), hn.FullGenerator(C)),
            ValueError,
            "condition_size is needed: a Linear does not say the size of its input",
        ),
        (
            lambda: hn.EncodedGenerator(hn.CosSinEncoder(1), hn.TiledKernelGenerator(4)),
            ValueError,
            "TiledKernelGenerator takes no condition, so it needs no encoder",
        ),
        (lambda: hn.CosSinEncoder(1, 2.0, 2.0), ValueError, r"low should be below high, got 2\.0 and 2\.0"),
        (lambda: hn.FourierEncoder(1, 0), ValueError, "frequencies should be at least 1, got 0"),
        (lambda: hn.FourierEncoder(1, 4, -1.0), ValueError, "deviation should be greater than 0"),
    ],
)
def test_arguments_that_are_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_encoder_of_another_size():
    net = hn.HyperNetwork(mlp(torch.float32), hn.EncodedGenerator(hn.CosSinEncoder(1), hn.FullGenerator(C)))
    with pytest.raises(ValueError, match=r"the encoder returned shape \(2,\), but FullGenerator takes \(\.\.\., 3\)"):
        net.generate(torch.rand(1))
