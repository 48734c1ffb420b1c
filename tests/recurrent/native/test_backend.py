"""Which path is taken: what is asked for, what is served, and that the rest goes to the reference."""

import subprocess
import sys
import threading

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap

import hypernetworks as hn
from hypernetworks.recurrent.backend import BACKENDS, backend

from ..families import FAMILIES, tensors
from .parity import NATIVE, given, network_of, state_of, worst


def test_use_backend_nests_and_is_left_as_it_was():
    before = backend()
    with hn.use_backend("reference"):
        assert backend() == "reference"
        with hn.use_backend("native"):
            assert backend() == "native"
        with pytest.raises(KeyError), hn.use_backend("auto"):
            raise KeyError
        assert backend() == "reference"
    assert backend() == before


def test_a_name_that_is_none_is_an_error(monkeypatch):
    expected = r"should be one of 'auto', 'reference', 'compiled', 'native', 'triton', got 'fast'"
    with pytest.raises(ValueError, match=f"name {expected}"), hn.use_backend("fast"):
        pass
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "fast")
    with pytest.raises(ValueError, match=f"HYPERNETWORKS_BACKEND {expected}"):
        hn.LSTM(2, 3)(torch.randn(2, 1, 2))
    said = subprocess.run(
        [sys.executable, "-m", "hypernetworks", "doctor"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1


def test_the_variable_is_the_default(monkeypatch, spy):
    x = torch.randn(3, 1, 2)
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "reference")
    hn.LSTM(2, 3)(x)
    assert spy.layers == 0
    with hn.use_backend("auto"):
        hn.LSTM(2, 3)(x)
    assert spy.layers == 1
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "")
    hn.LSTM(2, 3)(x)
    assert spy.layers == 2


def test_another_thread_has_its_own_choice():
    seen = []
    with hn.use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(backend()))
        thread.start()
        thread.join()
    assert seen != ["reference"]
    assert seen[0] in BACKENDS


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_auto_takes_the_kernels(name, spy):
    network = network_of(NATIVE[name], 3, 5, torch.float32, num_layers=2)
    with hn.use_backend("auto"):
        network(torch.randn(4, 2, 3))
        assert spy.layers == 2
        network(torch.randn(1, 2, 3))  # one step under gradients: the reference
        assert (spy.layers, spy.steps) == (2, 0)
        with torch.no_grad():
            network(torch.randn(1, 2, 3))
        assert (spy.layers, spy.steps) == (2, 2)


def reference_alone(network, call, spy, tolerance=0.0):
    """Under "native" no kernel is run, and the numbers are the reference's."""
    answers = []
    for path in ("native", "reference"):
        torch.manual_seed(0)
        with hn.use_backend(path):
            output, state = call()
        answers.append([output, *tensors(state)])
    assert spy.layers == spy.steps == 0
    assert worst(*answers) <= tolerance


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(NATIVE)))
def test_a_family_without_kernels(name, spy):
    network = FAMILIES[name].network()
    reference_alone(network, lambda: network(torch.randn(4, 2, 3, dtype=torch.float64)), spy)


@pytest.mark.parametrize("name", sorted(NATIVE))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype, spy):
    network = network_of(NATIVE[name], 3, 5, torch.float32).to(dtype)
    reference_alone(network, lambda: network(torch.randn(4, 2, 3).to(dtype)), spy)


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_autocast_and_the_meta_device(name, spy):
    network = network_of(NATIVE[name], 3, 5, torch.float32)

    def call():
        with torch.autocast("cpu", torch.bfloat16):
            return network(torch.randn(4, 2, 3))

    reference_alone(network, call, spy)
    with hn.use_backend("native"):
        output, _ = network.to("meta")(torch.randn(4, 2, 3, device="meta"))
    assert output.shape == (4, 2, 5)
    assert spy.layers == 0


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_an_empty_batch(name, spy):
    network = network_of(NATIVE[name], 3, 5)
    reference_alone(network, lambda: network(torch.randn(4, 0, 3, dtype=torch.float64)), spy)


def test_norms_that_differ(spy):
    network = hn.HyperLSTM(3, 5, dtype=torch.float64)
    network.cell(0).hyper.lstm.cell_norm.eps = 0.1
    reference_alone(network, lambda: network(torch.randn(4, 2, 3, dtype=torch.float64)), spy)


class Marked(torch.Tensor):
    """A tensor of another kind."""


def test_other_kinds_of_tensors(spy):
    network = hn.LSTM(3, 5, dtype=torch.float64)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    reference_alone(network, lambda: network(x.as_subclass(Marked)), spy)
    network.cell(0).weight_x = nn.Parameter(network.cell(0).weight_x.detach().as_subclass(Marked))
    reference_alone(network, lambda: network(x), spy)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, of its forward mode
@pytest.mark.parametrize("name", sorted(NATIVE))
def test_torch_func_transforms(name, spy):
    network = network_of(NATIVE[name], 3, 5)
    parameters = dict(network.named_parameters())
    x, many = torch.randn(4, 2, 3, dtype=torch.float64), torch.randn(6, 4, 2, 3, dtype=torch.float64)

    def loss(parameters, x):
        return functional_call(network, parameters, (x,))[0].square().sum()

    with hn.use_backend("native"):
        each = vmap(grad(loss), (None, 0))(parameters, many)
        _, tangent = jvp(lambda x: loss(parameters, x), (x,), (torch.ones_like(x),))
        assert spy.layers == 0
        for k, one in enumerate(many):
            plain = torch.autograd.grad(loss(parameters, one), list(parameters.values()))
            assert worst([tensor[k] for tensor in each.values()], plain) <= 1e-10
        assert spy.layers == len(many)
        leaf = x.clone().requires_grad_()
        (of_x,) = torch.autograd.grad(loss(parameters, leaf), leaf)
    assert abs(tangent.item() - of_x.sum().item()) <= 1e-9


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, of its forward mode
def test_forward_mode_derivatives(spy):
    network = hn.LSTM(3, 5, dtype=torch.float64)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    with hn.use_backend("native"), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        output, _ = network(dual)
        assert torch.autograd.forward_ad.unpack_dual(output).tangent is not None
    assert spy.layers == 0


def test_carried_state_of_a_layer_without_kernels_is_served_by_one_with_them():
    network = network_of(NATIVE["hyper-lstm"], 3, 5)
    x, state = torch.randn(6, 2, 3, dtype=torch.float64), state_of(network, 2)
    with hn.use_backend("reference"):
        whole, _ = network(x, given(network, state))
        first, middle = network(x[:2], given(network, state))
    with hn.use_backend("native"):
        second, _ = network(x[2:], middle)
    assert worst([torch.cat((first, second))], [whole]) <= 1e-12
