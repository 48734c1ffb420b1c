"""What is raised while a target is measured: the weights are made instead, but what ends the program comes through."""

import pytest
import torch

import hypernetworks as hn
from hypernetworks.torch_compat import is_out_of_memory

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
