"""The operators of torch: their registration, torch.compile and torch.export, and arguments that cannot be served."""

import pytest
import torch
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st
from torch.library import opcheck

import hypernetworks as hn

from ..families import tensors
from .parity import NATIVE, given, native_families, network_of, state_of, worst


def arguments(family, time=3, batch=2, grad=True, save=True):
    """The arguments of the operator for a small network of this family."""
    torch.manual_seed(0)
    network = network_of(family, 3, 5)
    cell, op = network.cell(0), network.cell(0).native
    weights, numbers = cell.native_parameters()
    states = [tensor[0].clone() for tensor in state_of(network, batch)]
    inputs = (
        {"x": torch.randn(time * batch, 3, dtype=torch.float64)} | dict(zip(op.states, states, strict=False)) | weights
    )
    inputs = {name: None if tensor is None else tensor.detach().requires_grad_(grad) for name, tensor in inputs.items()}
    return op, [*(inputs.get(name) for name in op.inputs), None, None, False, *numbers, save]


@native_families
@pytest.mark.parametrize("save", [True, False])
def test_opcheck_forward(family, save):
    op, given = arguments(family, grad=save, save=save)
    opcheck(getattr(torch.ops.hypernetworks, op.name).default, tuple(given))


@native_families
@pytest.mark.parametrize("need", [True, False])
def test_opcheck_backward(family, need):
    op, given = arguments(family, grad=False)
    results = getattr(torch.ops.hypernetworks, op.name)(*given)
    came = [torch.randn_like(tensor) for tensor in results[: len(op.answer)]]
    backward = getattr(torch.ops.hypernetworks, f"{op.name}_backward")
    opcheck(backward.default, (*came, *given[:-1], *results, need, True))
    opcheck(backward.default, (*came[:1], *[None] * (len(came) - 1), *given[:-1], *results, True, need))


def run(function, network, x, state):
    output, final = function(x, given(network, state))
    outputs = [output, *tensors(final)]
    torch.manual_seed(3)
    return [*outputs, *torch.autograd.grad(outputs, [x, *network.parameters()], [torch.randn_like(o) for o in outputs])]


@native_families
@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_under_torch_compile_as_one_graph(family, compiler, spy):
    torch._dynamo.reset()
    network = network_of(family, 3, 5, num_layers=2)
    state = state_of(network, 2)
    with hn.use_backend("native"):
        compiled = torch.compile(network, backend=compiler, fullgraph=True)
        for time in (3, 4, 1):
            x = torch.randn(time, 2, 3, dtype=torch.float64, requires_grad=True)
            assert worst(run(compiled, network, x, state), run(network, network, x, state)) <= 1e-12
    assert spy.layers > 0


@native_families
@pytest.mark.parametrize("strict", [True, False])
def test_torch_export_with_any_number_of_steps(family, strict):
    network = network_of(family, 3, 5).eval()
    time = torch.export.Dim("time", min=2, max=4096)
    with hn.use_backend("native"), torch.no_grad():
        x = torch.randn(6, 2, 3, dtype=torch.float64)
        exported = torch.export.export(network, (x,), dynamic_shapes=({0: time},), strict=strict)
        assert any("hypernetworks" in str(node.target) for node in exported.graph.nodes)
        for steps in (6, 11):
            x = torch.randn(steps, 2, 3, dtype=torch.float64)
            ours, theirs = exported.module()(x), network(x)
            assert worst([ours[0], *tensors(ours[1])], [theirs[0], *tensors(theirs[1])]) <= 1e-12


@native_families
def test_a_second_backward_is_a_clear_error(family):
    network = network_of(family, 3, 5)
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    with hn.use_backend("native"):
        (grad,) = torch.autograd.grad(network(x)[0].sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match=r"no second backward: .*use_backend\('reference'\)"):
            torch.autograd.grad(grad.square().sum(), x)


@native_families
def test_backward_twice_through_a_kept_graph(family):
    network = network_of(family, 3, 5)
    x = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    with hn.use_backend("native"):
        loss = network(x)[0].square().sum()
        first = torch.autograd.grad(loss, x, retain_graph=True)
        assert torch.equal(first[0], torch.autograd.grad(loss, x)[0])


@examples(data=st.data(), name=st.sampled_from(sorted(NATIVE)))
@settings(max_examples=150)
def test_any_wrong_shape_is_an_error(data, name):
    op, given = arguments(NATIVE[name], time=5, batch=3, grad=False)
    place = data.draw(st.sampled_from([k for k, tensor in enumerate(given[: len(op.inputs)]) if tensor is not None]))
    shape = list(given[place].shape)
    axis = data.draw(st.integers(0, len(shape) - 1))
    shape[axis] += data.draw(
        st.sampled_from([-shape[axis], -1, 1, 1000])
    )  # 15 rows are no whole number of steps of 2 or 4
    given[place] = torch.randn(shape, dtype=torch.float64)
    with pytest.raises((ValueError, RuntimeError)):
        getattr(torch.ops.hypernetworks, op.name)(*given)


@pytest.mark.parametrize(
    "sizes", [[], [2, 2], [2, 2, 3], [2, 2, 2, 0], [1, 2, 3], [3, 2, 1], [2, 4], [6], [2, 2, -2, 4], [1] * 6]
)
def test_wrong_batch_sizes_are_an_error(sizes):
    op, given = arguments(NATIVE["lstm"], grad=False)
    given[len(op.inputs) + 1] = sizes
    with pytest.raises(ValueError, match="batch_sizes should fall from 2"):
        torch.ops.hypernetworks.lstm(*given)


def test_other_dtypes_and_devices_are_an_error():
    _, given = arguments(NATIVE["hyper-lstm"], grad=False)
    with pytest.raises(TypeError, match=r"serve float32 and float64, got torch\.float16"):
        torch.ops.hypernetworks.lstm(*(v.half() if isinstance(v, torch.Tensor) else v for v in given))
    for wrong in (torch.float32, torch.int64):
        others = list(given)
        others[3] = others[3].to(wrong)
        with pytest.raises(TypeError, match=r"should be torch\.float64 on the CPU"):
            torch.ops.hypernetworks.lstm(*others)


def test_half_of_a_norm_or_of_a_hyper_cell_is_an_error():
    op, given = arguments(NATIVE["hyper-lstm"], grad=False)
    for missing in ("gain", "hyper_cell_shift", "D", "bias"):
        others = list(given)
        others[op.inputs.index(missing)] = None
        with pytest.raises(ValueError, match=r"come together, got only|has a bias, got none"):
            torch.ops.hypernetworks.lstm(*others)


@native_families
def test_what_is_required_and_missing_is_an_error(family):
    op, given = arguments(family, grad=False)
    for k, name in enumerate(op.inputs):
        if name not in op.optional:
            missing = [*given[:k], None, *given[k + 1 :]]
            with pytest.raises((TypeError, RuntimeError, AttributeError, AssertionError)):
                getattr(torch.ops.hypernetworks, op.name)(*missing)


@native_families
def test_results_of_another_call_are_an_error_in_backward(family):
    op, given = arguments(family, grad=False)
    results = getattr(torch.ops.hypernetworks, op.name)(*given)
    _, shorter = arguments(family, time=2, grad=False)
    others = getattr(torch.ops.hypernetworks, op.name)(*shorter)
    backward = getattr(torch.ops.hypernetworks, f"{op.name}_backward")
    came = [torch.randn_like(tensor) for tensor in results[: len(op.answer)]]
    with pytest.raises(ValueError, match="should have shape"):
        backward(*came, *given[:-1], *others, True, True)
    unsaved = getattr(torch.ops.hypernetworks, op.name)(*given[:-1], False)
    with pytest.raises(ValueError, match="should have shape"):
        backward(*came, *given[:-1], *unsaved, True, True)
