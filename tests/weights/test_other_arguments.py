"""Functions that know forms, called with arguments for which they do not: the weights are made, instead."""

import pytest
import torch
import torch.nn.functional as F

import hypernetworks as hn
from hypernetworks.weights.per_sample.slots import FUNCTIONS

from .dense import B, double, wrapped
from .loops import same_as_in_a_loop, served, why
from .targets import C

MADE = {
    "add with alpha": lambda W, b, x: torch.add(x, b, alpha=2),
    "x.add with alpha": lambda W, b, x: x.add(b, alpha=2),
    "add to the parameter, with alpha": lambda W, b, x: torch.add(b, x, alpha=2),
    "sub with alpha": lambda W, b, x: torch.sub(x, b, alpha=3),
    "x.sub with alpha": lambda W, b, x: x.sub(other=b, alpha=3),
    "div with floor": lambda W, b, x: x * torch.div(x, b, rounding_mode="floor"),
    "x.div with trunc": lambda W, b, x: x * x.div(b, rounding_mode="trunc"),
    "mm with mat2": lambda W, b, x: torch.mm(x, mat2=W),
    "x.mm with mat2": lambda W, b, x: x.mm(mat2=W),
    "double with a memory format": lambda W, b, x: x * b.double(memory_format=torch.preserve_format),
    "float with a memory format": lambda W, b, x: x * b.float(memory_format=torch.preserve_format),
    "to with a copy": lambda W, b, x: x * b.to(torch.float64, copy=True),
    "view as another dtype": lambda W, b, x: x * b.view(dtype=torch.float64),
}
"""Of a matrix and a vector that are generated."""

SERVED = {
    "add by name": lambda W, b, x: torch.add(input=x, other=b),
    "matmul by name": lambda W, b, x: torch.matmul(input=x, other=W),
    "linear by name": lambda W, b, x: F.linear(input=x, weight=W, bias=b),
    "addmm by name": lambda W, b, x: torch.addmm(input=b, mat1=x, mat2=W),
    "layer norm by name": lambda W, b, x: F.layer_norm(input=x, normalized_shape=(B,), weight=b, bias=b),
    "reshape by name": lambda W, b, x: x * torch.reshape(input=b, shape=(1, B)),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("case", [*MADE, *SERVED])
def test_arguments_of_functions_that_know_forms(case):
    call = (MADE | SERVED)[case]
    net = wrapped(lambda net, x: call(net.a.weight, net.b.bias, net.b(x)), hn.FullGenerator(C, hidden=()))
    same_as_in_a_loop(net, [torch.randn(B, B, **double)], torch.randn(B, C, **double), tol=1e-6)
    assert served(net) == (case in SERVED), why(net)


def test_a_type_error_within_what_serves_a_function_comes_through(monkeypatch):
    def broken(input, other):
        raise TypeError("from within")

    monkeypatch.setitem(FUNCTIONS, torch.add, broken)
    net = wrapped(lambda net, x: torch.add(net.a(x), net.b.bias))
    with pytest.raises(TypeError, match="from within"):
        net(torch.randn(B, B, **double), condition=torch.randn(B, C, **double))


def test_a_function_of_torch_that_takes_no_such_argument():
    net = wrapped(lambda net, x: torch.mul(net.a(x), net.b.bias, alpha=2))
    with pytest.raises(TypeError, match="alpha"):
        net(torch.randn(B, B, **double), condition=torch.randn(B, C, **double))
