"""A target that runs once, on the whole batch: dtypes, autocast, hooks, checkpoints, random numbers, arguments."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

from .dense import B, Run, double, wrapped
from .loops import in_a_loop, same_as_in_a_loop, served, why
from .targets import C, close, shake

SCALES = {
    "one more, in float32": lambda w, x: (1.0 + w.float()).type_as(x),
    "another dtype": lambda w, x: w.to(torch.float32).to(dtype=torch.float64),
    "like the input": lambda w, x: w.to(x),
    "numbers on both sides": lambda w, x: x * (2 - 3 * (w / 2)) + (1 - w) + 1 / (4 + w),
}


@pytest.mark.parametrize("case", SCALES)
def test_numbers_and_dtypes_of_a_vector(case):
    """As in the norms of language models."""
    net = wrapped(lambda net, x: net.a(x) * SCALES[case](net.b.bias, x), hn.FullGenerator(C, hidden=()))
    same_as_in_a_loop(net, (torch.randn(B, 3, B, **double),), torch.randn(B, C, **double), tol=1e-6)
    assert served(net), why(net)


def test_dropout_is_drawn_for_each_sample_on_the_whole_batch():
    net = wrapped(lambda net, x: F.dropout(net.a(x), 0.5, training=True))
    x = torch.randn(1, B, **double).expand(B, B)
    state = torch.get_rng_state()
    y = net(x, condition=torch.ones(B, C, **double))
    assert served(net)
    assert not torch.equal(y[0] == 0, y[1] == 0)
    torch.set_rng_state(state)  # the first call measured, the second does not: both draw the same
    assert torch.equal(y, net(x, condition=torch.ones(B, C, **double)))


def test_checkpoints_inside_of_the_target():
    net = wrapped(lambda net, x: checkpoint(lambda x: net.b(torch.tanh(net.a(x))), x, use_reentrant=False))
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert served(net), why(net)


def test_nothing_is_written_into_the_target_and_hooks_see_all_samples():
    net = wrapped(lambda net, x: net.b(net.a(x)))
    seen = []
    net.target.a.register_forward_hook(lambda module, args, out: seen.append(out))
    before = {name: (id(value), value.clone()) for name, value in net.target.state_dict(keep_vars=True).items()}
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    net(x, condition=c)
    assert [out.shape for out in seen] == [(B, 3, B)]
    for name, value in net.target.state_dict(keep_vars=True).items():
        assert before[name][0] == id(value)
        assert torch.equal(before[name][1], value)


@pytest.mark.parametrize("generator", [hn.LowRankGenerator(C, rank=2), hn.RowScaleGenerator(C), hn.FullGenerator(C)])
def test_autocast(generator):
    """bfloat16 where a loop has it, and as exact."""
    target = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    net = hn.HyperNetwork(target, generator)
    shake(net)
    x, c = torch.randn(B, 3, 4, 4), torch.randn(B, C)
    exact = in_a_loop(net, [x], c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, loop = net(x, condition=c), in_a_loop(net, [x], c)
    assert y.dtype == loop.dtype == torch.bfloat16
    assert served(net), why(net)
    assert (y - exact).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("alone", [False, True], ids=["whole batch", "vmap"])
def test_hooks_see_real_tensors_of_all_samples(alone):
    net = wrapped(lambda net, x: net.b(net.a(x)) + (net.a.weight.sum() if alone else 0))
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    expected = in_a_loop(net, [x], c)
    parts = torch.cat([F.linear(x[n : n + 1], W, b) for n, (W, b) in enumerate(_weights(net, c))])
    seen = []
    net.target.a.register_forward_hook(lambda module, args, out: seen.append((*args, out)))
    close(net(x, condition=c), expected)
    assert served(net) != alone
    ((given, out),) = seen
    close(given, x)
    close(out, parts)
    assert (out.sum() + 1).isfinite()  # nothing of a vmap that is over


def _weights(net, c):
    made = net.generate(c)
    return zip(made["a.weight"], made["a.bias"], strict=True)


@pytest.mark.parametrize("alone", [False, True], ids=["whole batch", "vmap"])
def test_hooks_that_change_a_result(alone):
    net = wrapped(lambda net, x: net.b(net.a(x)) + (net.a.weight.sum() if alone else 0))
    net.target.a.register_forward_hook(lambda module, args, out: 2 * out)
    same_as_in_a_loop(net, [torch.randn(B, 3, B, **double)], torch.randn(B, C, **double))
    assert not served(net)


class Uncopyable:
    def __deepcopy__(self, memo):
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("value", "copied"), [({"factor": 2.0}, True), (Uncopyable(), False)], ids=["a dict", "what cannot be copied"]
)
def test_arguments_that_are_no_tensors(value, copied):
    net = wrapped(lambda net, x, more: net.b(net.a(x)) * (more["factor"] if isinstance(more, dict) else 1.0))
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    y = net(x, value, condition=c)
    close(y, torch.cat([net(x[n : n + 1], value, condition=c[n]) for n in range(B)]))
    assert served(net) == copied


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_grad_modes(mode):
    net = wrapped(lambda net, x: net.b(net.a(x)))
    with mode():
        x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
        close(net(x, condition=c), in_a_loop(net, [x], c))
        assert served(net), why(net)


def test_random_numbers_are_as_without_measuring():
    net = wrapped(lambda net, x: net.b(net.a(x)) * torch.rand(1, **double))
    state = torch.get_rng_state()
    net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize(
    "generator", [hn.LowRankGenerator(C, rank=2), hn.RowScaleGenerator(C), hn.FullGenerator(C, ())]
)
def test_a_target_in_bfloat16_with_a_generator_in_float32(generator):
    target = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).bfloat16()
    net = hn.HyperNetwork(target, generator)
    x, c = torch.randn(B, 3, 4, 4).bfloat16(), torch.randn(B, C)
    y, loop = net(x, condition=c), in_a_loop(net, [x], c)
    assert served(net), why(net)
    assert y.dtype == loop.dtype == torch.bfloat16
    assert (y - loop).abs().max() < 0.02 * loop.abs().max()
    y.float().sum().backward()
    assert {parameter.grad.dtype for parameter in net.generator.parameters() if parameter.grad is not None} == {
        torch.float32
    }


def test_a_generator_with_a_wrong_name_says_so():
    class Wrong(hn.Generator):
        condition_size = C

        def build(self, weights):
            pass

        def forward(self, condition, base):
            return {"other": condition}

    net = hn.HyperNetwork(Run(lambda net, x: net.a(x)), Wrong())
    with pytest.raises(ValueError, match=r"missing .*a.weight.*unknown \['other'\]"):
        net(torch.randn(B, B, **double), condition=torch.randn(B, C, **double))
