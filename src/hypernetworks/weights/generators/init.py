"""Initialisation of a generator's heads, such that the generated target starts with well-scaled weights.

A head generates the weights of a layer y = W x + b from m numbers h with second moment V:  W = H h + B, b = G h + B', so that
Var(W) = m V Var(H) and Var(b) = m V Var(G). r is 2 if the target's layers end in a ReLU, else 1.

    scheme      Var(W)                Var(b)
    fan-in      r / (β n_in)          r / 2                         β = 2 if b is generated too, else 1
    fan-out     r / n_out             max(0, r (1 − n_in / n_out))
    harmonic    2 / (1/a + 1/b)       of the two above

Chang, Flokas and Lipson, "Principled weight initialization for hypernetworks", ICLR 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hypernetworks.recurrent.checks import check_choice, check_positive
from hypernetworks.weights.selection import TargetWeight

SCHEMES = ("target", "hyperfan-in", "hyperfan-out", "hyperfan-harmonic")


def check_init(init: str, gain: float, condition_moment: float) -> None:
    """Check what a generator's initialisation depends on."""
    check_choice("init", init, SCHEMES)
    check_positive("gain", gain)
    check_positive("condition_moment", condition_moment)


class Moments(NamedTuple):
    """The initial variances of a layer's generated weights and biases."""

    weight: float
    bias: float


def hyperfan_in(fan_in: float, fan_out: float, gain: float, with_bias: bool) -> Moments:
    """Keep the second moment of activations at 1 in the forward pass.

    An output has variance n_in Var(W) E[x²] + Var(b), which should be r: a ReLU halves the second moment, and r = 2
    compensates for it. Without b: Var(W) = r / n_in. With b each contributes half at E[x²] = 1: Var(W) = r / (2 n_in) and
    Var(b) = r / 2.
    """
    beta = 2 if with_bias else 1
    return Moments(gain / (beta * fan_in), gain / 2)


def hyperfan_out(fan_in: float, fan_out: float, gain: float, with_bias: bool) -> Moments:
    """Keep the variance of gradients constant in the backward pass.

    δx = Wᵀ (φ'(y) ⊙ δy): each of the n_out terms keeps E[φ'²] = 1/r of its variance, so Var(δx) = n_out Var(W) Var(δy) / r and
    Var(W) = r / n_out. The bias does not take part, so no β occurs. In the forward pass these weights give r n_in / n_out at
    E[x²] = 1. If that is less than r, the bias contributes the rest: Var(b) = max(0, r (1 − n_in / n_out)).
    """
    return Moments(gain / fan_out, max(0.0, gain * (1 - fan_in / fan_out)))


def hyperfan_harmonic(fan_in: float, fan_out: float, gain: float, with_bias: bool) -> Moments:
    """The harmonic mean 2 / (1/a + 1/b) of the two schemes; 0 if either is 0."""
    forward = hyperfan_in(fan_in, fan_out, gain, with_bias)
    backward = hyperfan_out(fan_in, fan_out, gain, with_bias)
    weight, bias = (2 * a * b / (a + b) if a and b else 0.0 for a, b in zip(forward, backward, strict=True))
    return Moments(weight, bias)


FORMS: dict[str, Callable[[float, float, float, bool], Moments]] = {
    "hyperfan-in": hyperfan_in,
    "hyperfan-out": hyperfan_out,
    "hyperfan-harmonic": hyperfan_harmonic,
}


def wanted_variance(weight: TargetWeight, scheme: str, gain: float) -> float:
    """The initial variance of a generated "weight" or "bias" under a hyperfan scheme."""
    with_bias = weight.partner or weight.kind == "bias"
    moments = FORMS[scheme](weight.fan_in, weight.fan_out, gain, with_bias)
    return moments.bias if weight.kind == "bias" else moments.weight


@torch.no_grad()
def head_(H: Tensor, b: Tensor, weight: TargetWeight, scheme: str, gain: float, moment: float) -> None:
    """Initialise the head (H, b) that generates one tensor from m numbers with second moment V.

    Hyperfan schemes: head biases are 0, and head weights are uniform in ±sqrt(3 Var) with the variance above divided by m V.
    "target", and any tensor that is not a layer's weight or bias: head weights are 0 and head biases the target's own values,
    so that every condition starts exactly at the target's own weights. The zeros can be trained, as those of LoRA's B: their
    gradient is the product of h, which is random, and the gradient of the tensor. Only the layers before the head get no
    gradient in the first step.
    """
    if scheme == "target" or weight.kind == "other":
        nn.init.zeros_(H)
        b.copy_(weight.value.flatten())
        return
    bound = (3 * wanted_variance(weight, scheme, gain) / (H.shape[1] * moment)) ** 0.5
    nn.init.uniform_(H, -bound, bound)
    nn.init.zeros_(b)


SECOND_MOMENTS: dict[type[nn.Module], float] = {nn.GELU: 0.425221, nn.SiLU: 0.355776, nn.Tanh: 0.394294}
"""E[φ(z)²] for z from N(0, 1)."""


def trunk_(layers: nn.Sequential, moment: float) -> float:
    """Initialise a trunk whose inputs have the second moment V = `moment`. Return that of its outputs.

    ReLU: Kaiming's fan-in normal, r = 2. Every layer preserves V, because ReLU is homogeneous. Other activations φ: Var(W) =
    1 / (n_in V), so that φ gets inputs of variance 1, and V becomes E[φ(z)²] for z from N(0, 1). Biases are 0.
    """
    modules = list(layers)
    for linear, activation in zip(modules[::2], modules[1::2], strict=True):
        assert isinstance(linear, nn.Linear)
        if isinstance(activation, nn.ReLU):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        else:
            normal_(linear.weight, 1 / (linear.in_features * moment))
            moment = SECOND_MOMENTS[type(activation)]
        nn.init.zeros_(linear.bias)
    return moment


@torch.no_grad()
def siren_(target: nn.Module, omega: float = 30.0) -> nn.Module:
    """Initialise all torch.nn.Linear of a network of sines, sin(ω (W x + b)), so that its activations have one distribution.

        first layer     W uniform in ±1 / n_in              inputs in [−1, 1]
        other layers    W uniform in ±sqrt(6 / n_in) / ω
        biases          uniform in ±1 / sqrt(n_in)

    Generators that start at the target's own weights (init="target", `LowRankGenerator`, `RowScaleGenerator`) then start there
    for every condition.

    Args:
        target: its first torch.nn.Linear, in the order of its modules, is the first layer.
        omega: ω, the factor in the target's sines.

    Returns:
        The target.

    Source: Sitzmann et al., "Implicit neural representations with periodic activation functions", NeurIPS 2020, section 3.2.

    Example:
        >>> class Sine(torch.nn.Module):
        ...     def forward(self, x):
        ...         return torch.sin(30 * x)
        >>> target = hn.siren_(torch.nn.Sequential(torch.nn.Linear(2, 32), Sine(), torch.nn.Linear(32, 1)))
        >>> net = hn.HyperNetwork(target, hn.FullGenerator(8))
    """
    check_positive("omega", omega)
    layers = [module for module in target.modules() if isinstance(module, nn.Linear)]
    for k, layer in enumerate(layers):
        n_in = layer.in_features
        bound = (6 / n_in) ** 0.5 / omega if k else 1 / n_in
        nn.init.uniform_(layer.weight, -bound, bound)
        if layer.bias is not None:
            nn.init.uniform_(layer.bias, -(n_in**-0.5), n_in**-0.5)
    return target


def normal_(tensor: Tensor, variance: float) -> None:
    """Fill with N(0, variance)."""
    nn.init.normal_(tensor, std=variance**0.5)
