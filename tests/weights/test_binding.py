"""Binding a generator to a target: before it, when it fails, dtypes, and warnings."""

import re

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn

from .targets import GENERATORS, C, close, mlp, shake


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_that_is_not_bound(kind):
    generator = GENERATORS[kind]()
    with pytest.raises(
        ValueError, match=r"is not bound to a target: pass it to HyperNetwork\(target, generator\) first"
    ):
        generator(torch.randn(C), {})


@pytest.mark.parametrize(
    "compose",
    [
        lambda first, second: hn.GeneratorSplit({"*.bias": first, "*.weight": second}),
        lambda first, second: hn.GeneratorChain(first, second),
    ],
)
def test_a_bind_that_fails_leaves_all_generators_as_they_were(compose):
    first, second = hn.FullGenerator(C), hn.LowRankGenerator(C, rank=5)
    whole = compose(first, second)
    with pytest.raises(ValueError, match=r"rank 5 does not fit 2\.weight, a matrix of 4 by 8"):
        hn.HyperNetwork(mlp(), whole)
    assert not [*whole.parameters()]
    assert first.names == second.names == whole.names == ()
    assert not hasattr(first, "trunk")
    wide = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6))
    net = hn.HyperNetwork(wide, whole)  # and they can be bound to another target
    assert net(torch.randn(2, 5), condition=torch.randn(C)).shape == (2, 6)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", GENERATORS)
def test_a_generator_for_a_half_precision_target_computes_in_single(kind, half):
    """Its weights are those of the same target in float32, rounded once."""
    torch.manual_seed(0)
    target = mlp(half)
    single = mlp(torch.float32)
    single.load_state_dict(target.state_dict())
    torch.manual_seed(1)
    net = hn.HyperNetwork(target, GENERATORS[kind]())
    torch.manual_seed(1)
    reference = hn.HyperNetwork(single, GENERATORS[kind]())
    assert {parameter.dtype for parameter in net.generator.parameters()} == {torch.float32}
    shake(reference.generator)
    net.generator.load_state_dict(reference.generator.state_dict())
    for c in (torch.randn(C), torch.randn(2, C), torch.randn(C).to(half)):
        made, expected = net.generate(c), reference.generate(c.float())
        assert all(torch.equal(made[name], expected[name].to(half)) for name in expected)
    # gradients reach the float32 parameters
    x, c, tangent = torch.randn(6, 5).to(half), torch.randn(C), torch.randn(6, 4)
    (net(x, condition=c).float() * tangent).sum().backward()
    exact = functional_call(
        single, {name: t.to(half).float() for name, t in reference.generate(c).items()}, (x.float(),)
    )
    (exact * tangent).sum().backward()
    for mine, theirs in zip(net.generator.parameters(), reference.generator.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        close(mine.grad, theirs.grad, 0.05)


def test_a_generator_can_be_converted_after_it_is_bound():
    net = hn.HyperNetwork(mlp(torch.bfloat16), hn.LowRankGenerator(C, rank=2))
    net.generator.to(torch.bfloat16)
    made = net.generate(torch.randn(2, C, dtype=torch.bfloat16))
    assert {tensor.dtype for tensor in made.values()} == {torch.bfloat16}


def test_targets_of_several_dtypes():
    target = nn.Sequential(nn.Linear(5, 8, dtype=torch.bfloat16), nn.LayerNorm(8), nn.Linear(8, 4, dtype=torch.float64))
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    made = net.generate(torch.randn(C, dtype=torch.float64))
    assert {name: t.dtype for name, t in made.items()} == {name: p.dtype for name, p in target.named_parameters()}
    close(made["2.weight"], target[2].weight, 0)


def test_conditions_of_another_dtype_or_device():
    net = hn.HyperNetwork(mlp(torch.float32), hn.FullGenerator(C))
    message = re.escape("condition has dtype torch.float64, but FullGenerator has torch.float32: convert one")
    with pytest.raises(ValueError, match=message):
        net.generate(torch.randn(C, dtype=torch.float64))
    with pytest.raises(ValueError, match="condition is on meta, but FullGenerator is on cpu: move one of them"):
        net.generate(torch.randn(C, device="meta"))


def frozen_with_zeros():
    target = mlp().requires_grad_(False)
    nn.init.zeros_(target[0].bias)
    nn.init.zeros_(target[2].weight)
    return target


@pytest.mark.parametrize("wrap", [lambda g: g, lambda g: hn.GeneratorSplit({None: g}), lambda g: hn.GeneratorChain(g)])
def test_scaled_zeros_are_named(wrap):
    with pytest.warns(
        UserWarning, match=r"RowScaleGenerator cannot change 0\.bias, 2\.weight: .* LowRankGenerator"
    ) as seen:
        hn.HyperNetwork(frozen_with_zeros(), wrap(hn.RowScaleGenerator(C)))
    assert len(seen) == 1


def test_zeros_that_something_else_changes_need_no_warning():
    hn.HyperNetwork(frozen_with_zeros().requires_grad_(), hn.RowScaleGenerator(C))
    hn.HyperNetwork(frozen_with_zeros(), hn.GeneratorChain(hn.LowRankGenerator(C, rank=2), hn.RowScaleGenerator(C)))
    hn.HyperNetwork(mlp().to("meta").requires_grad_(False), hn.RowScaleGenerator(C))


def test_a_low_rank_update_of_zeros_learns():
    """The way out that the warning names: W + B A, where B alone starts at zero."""
    torch.manual_seed(0)
    net = hn.HyperNetwork(frozen_with_zeros(), hn.LowRankGenerator(C, rank=4))
    x, c = torch.randn(32, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    wanted = x[:, :4]
    optimiser = torch.optim.Adam(net.generator.parameters(), 1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        loss = (net(x, condition=c) - wanted).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * wanted.square().mean()


def test_a_very_large_generator_is_announced():
    target = nn.Linear(1000, 2000, bias=False, device="meta")
    with pytest.warns(UserWarning, match=r"makes 2\.0 M numbers from 64 each, with 130 M parameters \(0\.5 GB\)"):
        hn.HyperNetwork(target, hn.FullGenerator(C))
    hn.HyperNetwork(target, hn.FullGenerator(C, hidden=(48,)))


NESTED = {
    "alone": lambda: hn.FullGenerator(C),
    "encoded": lambda: hn.EncodedGenerator(nn.Linear(2, C), hn.FullGenerator(C), 2),
    "residual": lambda: hn.ResidualGenerator(hn.FullGenerator(C)),
    "in a split in a chain": lambda: hn.GeneratorChain(hn.GeneratorSplit({"weight": hn.FullGenerator(C)})),
}


@pytest.mark.parametrize("case", NESTED)
def test_a_warning_points_at_the_line_that_makes_the_network(case):
    target, generator = nn.Linear(1000, 2000, bias=False, device="meta"), NESTED[case]()
    with pytest.warns(UserWarning, match="makes") as seen:
        hn.HyperNetwork(target, generator)
    assert [each.filename for each in seen] == [__file__]
    target = nn.Linear(5, 4)
    nn.init.zeros_(target.weight).requires_grad_(False)
    with pytest.warns(UserWarning, match="cannot change weight") as seen:
        hn.HyperNetwork(target, hn.GeneratorChain(hn.RowScaleGenerator(C)))
    assert [each.filename for each in seen] == [__file__]


@pytest.mark.parametrize("kind", GENERATORS)
def test_under_autocast_the_weights_have_the_targets_dtype(kind):
    net = hn.HyperNetwork(mlp(torch.float32), GENERATORS[kind]())
    shake(net)
    c = torch.randn(2, C)
    exact = net.generate(c)
    with torch.autocast("cpu", torch.bfloat16):
        made = net.generate(c)
        net.generator.to(torch.bfloat16)
        net.generate(c)  # autocast converts the condition
    for name, W in made.items():
        assert W.dtype == torch.float32
        close(W, exact[name], 0.1)
    with pytest.raises(ValueError, match=r"condition has dtype torch\.float32, but \w+ has torch\.bfloat16"):
        net.generate(c)
