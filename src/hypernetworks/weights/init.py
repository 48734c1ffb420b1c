"""How the head of a generator starts: so that the target it makes starts well.

A head makes the weights of a layer y = W x + b from m numbers h of second moment V:  W = H h + B, b = G h + B', so that
Var(W) = m V Var(H) and Var(b) = m V Var(G). r is 2 where the target's layers end in a ReLU, else 1.

    form        Var(W)                Var(b)
    fan-in      r / (β n_in)          r / 2                         β = 2 where b is generated too, else 1
    fan-out     r / n_out             max(0, r (1 − n_in / n_out))
    harmonic    2 / (1/a + 1/b)       of the two above

Chang, Flokas and Lipson, "Principled weight initialization for hypernetworks", ICLR 2020.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .selection import TargetWeight

SCHEMES = ("target", "hyperfan-in", "hyperfan-out", "hyperfan-harmonic")


class Moments(NamedTuple):
    """The variances that generated weights and biases of a layer should start with."""

    weight: float
    bias: float


def hyperfan_in(fan_in: int, fan_out: int, gain: float, with_bias: bool) -> Moments:
    """Keep the second moment of activations at 1 on the way forward.

    An output has variance n_in Var(W) E[x²] + Var(b), and should have r (a ReLU halves the second moment, r = 2 makes up for
    it). Without b: Var(W) = r / n_in. With b each takes half at E[x²] = 1: Var(W) = r / (2 n_in), Var(b) = r / 2.
    """
    beta = 2 if with_bias else 1
    return Moments(gain / (beta * fan_in), gain / 2)


def hyperfan_out(fan_in: int, fan_out: int, gain: float, with_bias: bool) -> Moments:
    """Keep the variance of gradients on the way back.

    δx = Wᵀ (φ'(y) ⊙ δy): each of the n_out terms keeps E[φ'²] = 1/r of its variance, so Var(δx) = n_out Var(W) Var(δy) / r and
    Var(W) = r / n_out. The bias is not on that way, so there is no β. Forward these weights give r n_in / n_out at
    E[x²] = 1; what is missing to r, if anything is, the bias brings: Var(b) = max(0, r (1 − n_in / n_out)).
    """
    return Moments(gain / fan_out, max(0.0, gain * (1 - fan_in / fan_out)))


def hyperfan_harmonic(fan_in: int, fan_out: int, gain: float, with_bias: bool) -> Moments:
    """The harmonic mean 2 / (1/a + 1/b) of the two forms; 0 where one of them is."""
    forward = hyperfan_in(fan_in, fan_out, gain, with_bias)
    backward = hyperfan_out(fan_in, fan_out, gain, with_bias)
    weight, bias = (2 * a * b / (a + b) if a and b else 0.0 for a, b in zip(forward, backward, strict=True))
    return Moments(weight, bias)


FORMS: dict[str, Callable[[int, int, float, bool], Moments]] = {
    "hyperfan-in": hyperfan_in,
    "hyperfan-out": hyperfan_out,
    "hyperfan-harmonic": hyperfan_harmonic,
}


def wanted_variance(weight: TargetWeight, scheme: str, gain: float) -> float:
    """The variance that this generated tensor should start with, of a "weight" or "bias", under a hyperfan scheme."""
    with_bias = weight.partner or weight.kind == "bias"
    moments = FORMS[scheme](weight.fan_in, weight.fan_out, gain, with_bias)
    return moments.bias if weight.kind == "bias" else moments.weight


@torch.no_grad()
def head_(head: nn.Linear, weight: TargetWeight, scheme: str, gain: float, moment: float) -> None:
    """Fill the head that makes one tensor from m numbers of second moment V.

    hyperfan: head biases 0, head weights uniform in ±sqrt(3 Var), Var as above over m V. "target", and what is no layer's
    weight or bias: head weights 0 and head biases the target's own values, so that every condition starts at the target as
    it is, exactly. The zeros are no trap, as those of LoRA's B are none: their gradient is the product of h, which is random,
    and the gradient of the tensor; only the layers before the head wait for one step.
    """
    if scheme == "target" or weight.kind == "other":
        nn.init.zeros_(head.weight)
        head.bias.copy_(weight.value.flatten())
        return
    bound = (3 * wanted_variance(weight, scheme, gain) / (head.in_features * moment)) ** 0.5
    nn.init.uniform_(head.weight, -bound, bound)
    nn.init.zeros_(head.bias)


def trunk_(layers: nn.Sequential) -> None:
    """Kaiming's fan-in normal with zero biases, r = 2: each ReLU layer then hands on the second moment that it gets."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)


def normal_(tensor: Tensor, variance: float) -> None:
    """Fill with N(0, variance)."""
    nn.init.normal_(tensor, std=variance**0.5)
