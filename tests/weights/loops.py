"""The reference for weights per sample: a loop over the samples, compared in outputs and in all gradients."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

import hypernetworks as hn
from hypernetworks.weights.per_sample.observer import Places

from .targets import close


def served(net: hn.HyperNetwork) -> bool:
    """Whether the last call ran on the whole batch."""
    return isinstance(_last(net), Places)


def why(net: hn.HyperNetwork) -> str:
    """Why the last call did not run on the whole batch."""
    return str(_last(net))


def _last(net: hn.HyperNetwork) -> Places | str:
    """The last measurement."""
    return [*net._measured._found.values()][-1][0]


def in_a_loop(net: hn.HyperNetwork, args: Sequence[Tensor], c: Tensor, dim: int = 0, each: int = 1) -> Tensor:
    """The outputs for one sample after another, each a batch of `each` rows."""
    parts = [net(*(x.narrow(dim, n * each, each) for x in args), condition=c[n]) for n in range(len(c))]
    return torch.cat([part if isinstance(part, Tensor) else part[0] for part in parts], dim)


def same_as_in_a_loop(
    net: hn.HyperNetwork, args: Sequence[Tensor], c: Tensor, dim: int = 0, tol: float = 1e-10, **stated
) -> Tensor:
    """Check outputs and the gradients of inputs, conditions and parameters."""
    each = stated.get("samples_per_condition", 1)
    net.zero_grad()
    twin = copy.deepcopy(net)
    mine = [x.clone().requires_grad_() if x.is_floating_point() else x for x in (*args, c)]
    theirs = [x.clone().requires_grad_() if x.is_floating_point() else x for x in (*args, c)]
    y = net(*mine[:-1], condition=mine[-1], **stated)
    y = y if isinstance(y, Tensor) else y[0]
    expected = in_a_loop(twin, theirs[:-1], theirs[-1], dim, each)
    close(y, expected, tol)
    assert len(c) == 1 or (expected - in_a_loop(twin, args, c.roll(1, 0), dim, each)).abs().max() > 1e-3, (
        "the weights should differ between the samples"
    )
    cotangent = torch.randn_like(y)
    y.backward(cotangent)
    expected.backward(cotangent)
    for a, b in zip(mine, theirs, strict=True):
        if a.is_floating_point():
            close(a.grad, b.grad, tol)
    for (name, a), b in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if b.grad is not None:
            close(a.grad, b.grad, tol)
    return y
