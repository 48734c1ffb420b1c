"""What is raised while a target is measured: the weights are made instead, but what ends the program comes through."""

import pytest
import torch

import hypernetworks as hn
from hypernetworks.torch_compat import is_out_of_memory

from .dense import wrapped
from .loops import served, why
from .targets import C, close, mlp, shake

B = 4
double = {"dtype": torch.float64}


class OwnError(Exception):
    """An exception of a target."""


def raising(error):
    """A network whose target raises for all values but those that it was given first, and those."""
    net = hn.HyperNetwork(mlp(), hn.LowRankGenerator(C, rank=2))
    shake(net)
    x, c = torch.randn(B, 5, **double), torch.randn(B, C, **double)
    plain, known = net.target.forward, x.clone()

    def forward(x):
        if not torch._C._functorch.is_batchedtensor(x) and len(x) == B and not torch.equal(x, known):
            raise error
        return plain(x)

    net.target.forward = forward
    return net, x, c


@pytest.mark.parametrize("error", [OwnError("only these"), ValueError("only these"), KeyError("only these")])
def test_a_target_that_raises_for_other_values(error):
    net, x, c = raising(error)
    y = net(x, condition=c)
    assert not served(net)
    assert f"for other values of the inputs: {type(error).__name__}" in why(net)
    assert "only these" in why(net)
    close(y, torch.cat([net(x[n : n + 1], condition=c[n]) for n in range(B)]))


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_ends_the_program_comes_through(error):
    net, x, c = raising(error)
    with pytest.raises(type(error)) as caught:
        net(x, condition=c)
    assert caught.value is error
    assert not net._measured._found


def test_torch_says_so_when_there_is_no_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("another"))


class Interrupting:
    def __deepcopy__(self, memo):
        raise KeyboardInterrupt


def test_an_interruption_while_an_argument_is_copied():
    net = hn.HyperNetwork(mlp(), hn.LowRankGenerator(C, rank=2))
    plain = net.target.forward
    net.target.forward = lambda x, more: plain(x)
    with pytest.raises(KeyboardInterrupt):
        net(torch.randn(B, 5, **double), Interrupting(), condition=torch.randn(B, C, **double))


def masked_loss(net, x):
    """As in language models: the mask is looked at, and the loss is the mean over all samples."""
    return net.b(net.a(x)).square().mean() if (x < 9).all() else x


REFUSED_BY_VMAP = {
    "a mask": (masked_loss, r"the target decides by the values of a tensor \(if mask\.all\(\): \.\.\.\)\. A loop"),
    "a number": (
        lambda net, x: net.a(x).mean() * x.sum().item(),
        r"the target reads a number out of a tensor \(x\.item\(\)\)",
    ),
    "a shape": (
        lambda net, x: net.a(x)[x > 0].mean(),
        r"a tensor whose shape depends on values \(x\.nonzero\(\), x\[mask\]\)",
    ),
}


@pytest.mark.parametrize("case", REFUSED_BY_VMAP)
def test_a_loss_of_all_samples_that_vmap_cannot_compute(case):
    forward, message = REFUSED_BY_VMAP[case]
    net = wrapped(forward)
    x, c = torch.randn(B, 3, B, **double), torch.randn(B, C, **double)
    with pytest.raises(RuntimeError, match=message) as caught:
        net(x, condition=c)
    first, second, *_ = str(caught.value).split(". ")
    assert first == "Run cannot run with weights for each sample"
    assert second.startswith("On the whole batch: a returned tensor of shape () has no samples")
    assert "let the target return the logits (in transformers: leave out labels)" in str(caught.value)
    assert "please" not in str(caught.value).lower()


def test_shared_inputs_that_vmap_cannot_take():
    net = wrapped(masked_loss)
    net.target.run = lambda net, x: net.a(x) if net.a.bias.sum() > 0 else x
    x, c = torch.randn(3, B, **double), torch.randn(B, C, **double)
    message = r"all samples share all inputs\. .*decides by the values of a tensor.*net\(x, condition=c\[n\]\)"
    with pytest.raises(RuntimeError, match=message):
        net(x, condition=c, in_dims=None)


def test_requests_of_torch_to_report_an_error_are_left_out():
    net = wrapped(lambda net, x: x + torch.zeros(B, **double).copy_(net.a.weight.sum(0)))
    with pytest.raises(RuntimeError, match=r"inplace arithmetic.*Please try to use out-of-place operators") as caught:
        net(torch.randn(B, 3, B, **double), condition=torch.randn(B, C, **double))
    assert "please file" not in str(caught.value)
