"""Shared heads: the equation, what is shared, and sizes. And the residual form."""

import pytest
import torch
from torch import nn

import hypernetworks as hn

from .targets import C, close, mlp, shake


class Layered(nn.Module):
    """Layers with two kinds of square matrices and one other."""

    def __init__(self, layers):
        super().__init__()
        parts = {"q": nn.Linear(6, 6), "v": nn.Linear(6, 6), "up": nn.Linear(6, 9)}
        self.layers = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(m.in_features, m.out_features) for name, m in parts.items()})
            for _ in range(layers)
        )
        self.double()


def numbers_of(net):
    return sum(parameter.numel() for parameter in net.generator.parameters())


def test_the_equation():
    net = hn.HyperNetwork(Layered(3), hn.SharedLowRankGenerator(C, rank=2, alpha=6, hidden=(5, 7), embedding_size=4))
    shake(net)
    g, c = net.generator, torch.randn(2, C, dtype=torch.float64)
    kinds = [f"{name}.{which}" for name in ("q", "v", "up") for which in ("weight", "bias")]
    assert len(g.kinds) == 6
    assert len(g.layers) == 3
    assert len(g.heads) == 4  # 6 × 6, 9 × 6, 6, 9
    heads = {"q.weight": 0, "v.weight": 0, "q.bias": 1, "v.bias": 1, "up.weight": 2, "up.bias": 3}
    for layer in range(3):
        for kind in kinds:
            name = f"layers.{layer}.{kind}"
            for n in range(2):
                h = g.trunk(torch.cat((c[n], g.kinds[kinds.index(kind)], g.layers[layer])))
                own = net.target.get_parameter(name)
                made = [head(h) for head in g.heads[heads[kind]]]
                update = made[0] if own.dim() == 1 else 6 / 2 * made[0].view(-1, 2) @ made[1].view(2, -1)
                close(net.generate(c)[name][n], own + update)
                close(net.generate(c[n])[name], own + update)


def test_its_size_does_not_grow_with_the_layers():
    sizes = [numbers_of(hn.HyperNetwork(Layered(n), hn.SharedLowRankGenerator(C, rank=2))) for n in (2, 3, 4)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == 16  # one embedding


def test_updates_of_modules_differ_from_the_start_of_training():
    """A(h) has variance 1 / rest for every module, and differs between kinds, layers and conditions."""
    found = []
    for seed in range(10):
        torch.manual_seed(seed)
        net = hn.HyperNetwork(Layered(3), hn.SharedLowRankGenerator(64, rank=2, hidden=(256,)), "*.weight")
        factors = net.generator.factors(torch.randn(4, 64, dtype=torch.float64))
        A = torch.stack([factors[f"layers.{k}.{name}.weight"].A for k in range(3) for name in ("q", "v", "up")])
        assert all(f.B.abs().max() == 0 for f in factors.values())
        found.append(A.var(correction=0).item() * 6)
        flat = A.flatten(0, 1).flatten(1)
        assert torch.cdist(flat, flat).fill_diagonal_(1).min() > 0.1
    assert sum(found) / 10 == pytest.approx(1, rel=0.15)


def test_a_residual_is_a_shared_part_and_a_generated_one():
    inner = hn.FullGenerator(C, init="hyperfan-in")
    net = hn.HyperNetwork(mlp(), hn.ResidualGenerator(inner, scale=0.3))
    c = torch.randn(2, C, dtype=torch.float64)
    delta = inner(c, {})
    for name, W in net.generate(c).items():
        # W = W_target + s Δ(c)
        close(W, net.target.get_parameter(name) + 0.3 * delta[name])
        assert W.std(0).max() > 1e-3
    net(torch.randn(6, 5, dtype=torch.float64), condition=c[0]).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net.weight_report(c).base == 84


def test_a_residual_of_chunks_does_not_add_the_target_twice():
    net = hn.HyperNetwork(mlp(), hn.ResidualGenerator(hn.ChunkedGenerator(C, init="target")))
    for name, W in net.generate(torch.randn(C, dtype=torch.float64)).items():
        assert torch.equal(W, net.target.get_parameter(name))


def test_what_is_no_residual():
    with pytest.raises(TypeError, match=r"should be a hypernetworks\.Generator, got Linear"):
        hn.ResidualGenerator(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="scale should be finite"):
        hn.ResidualGenerator(hn.FullGenerator(C), float("inf"))
    with pytest.warns(UserWarning, match="RowScaleGenerator cannot change"):
        hn.HyperNetwork(mlp(), hn.ResidualGenerator(hn.RowScaleGenerator(C)))
