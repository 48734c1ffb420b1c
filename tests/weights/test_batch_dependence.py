"""Targets whose result for a sample depends on the batch that it is in: each sample is computed as if it were alone."""

import pytest
import torch

import hypernetworks as hn

from .dense import B, double, wrapped
from .loops import same_as_in_a_loop, served, why
from .targets import C

DEPENDENT = {
    "divided by the size of the batch": lambda net, x: net.a(x) / x.shape[0],
    "times its length": lambda net, x: net.b(net.a(x) * len(x)),
    "numbered rows": lambda net, x: net.a(x) * torch.arange(1, len(x) + 1, **double)[:, None, None],
    "the first two rows": lambda net, x: net.b(torch.where(torch.arange(len(x))[:, None, None] < 2, net.a(x), x)),
    "a cumulated offset": lambda net, x: net.a(x) + torch.ones(len(x), 1, 1, **double).cumsum(0),
    "divided by the largest of all": lambda net, x: net.b(net.a(x) / x.abs().max()),
}


@pytest.mark.parametrize("case", DEPENDENT)
@pytest.mark.parametrize("generator", [hn.LowRankGenerator, hn.RowScaleGenerator, hn.FullGenerator])
def test_each_sample_is_computed_as_if_it_were_alone(case, generator):
    net = wrapped(DEPENDENT[case], generator(C))
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert not served(net)


@pytest.mark.parametrize("samples_per_condition", [1, 2])
def test_what_does_not_depend_on_the_batch_is_served(samples_per_condition):
    net = wrapped(lambda net, x: net.b(net.a(x)) / x.shape[1])
    x, c = torch.randn(B * samples_per_condition, 3, B, **double), torch.randn(B, C, **double)
    same_as_in_a_loop(net, [x], c, samples_per_condition=samples_per_condition)
    assert served(net), why(net)


class Scaled(torch.autograd.Function):
    """x ↦ w x² with its own gradients, and no rule for vmap."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * x * w

    @staticmethod
    def backward(ctx, gradient):
        x, w = ctx.saved_tensors
        return 2 * x * w * gradient, (x * x * gradient).sum((0, 1))


class ScaledUnderVmap(Scaled):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, w):
        return x * x * w

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


def test_a_custom_function_of_a_generated_parameter():
    """The gradient would be lost if the function were served, since torch gives it to what the function was given."""
    net = wrapped(lambda net, x: ScaledUnderVmap.apply(net.a(x), net.b.bias), hn.FullGenerator(C))
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    same_as_in_a_loop(net, [x], c)
    assert not served(net)
    net.target.run = lambda net, x: Scaled.apply(net.a(x), net.b.bias)
    with pytest.raises(RuntimeError, match=r"is given to a torch\.autograd\.Function.*A loop always can"):
        net(x, condition=c)


def test_a_custom_function_of_activations_is_served():
    net = wrapped(lambda net, x: net.b(Scaled.apply(net.a(x), torch.ones(B, **double))))
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)
