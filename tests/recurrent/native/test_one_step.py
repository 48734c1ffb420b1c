"""One step of a few rows, without gradients: equal to the reference, whatever happened to the weights since the last one."""

import copy
import gc
import pickle
import threading
import weakref

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrize, prune

import hypernetworks as hn
from hypernetworks.recurrent.sequence import FEW_ROWS

from ..families import tensors
from .parity import NATIVE, TOLERANCE, both_dtypes, given, native_families, network_of, state_of, worst


def step(cell, x, state, path):
    with torch.no_grad(), hn.use_backend(path):
        h, new = cell(x, state)
    return [h, *tensors(new)]


def same_as_reference(cell, x, state, tolerance=1e-10):
    ours = step(cell, x, state, "native")
    assert worst(ours, step(cell, x, state, "reference")) <= tolerance
    return ours


@native_families
@both_dtypes
@pytest.mark.parametrize(("size", "batch"), [(1, 1), (7, 3), (33, 9), (65, 4), (16, 16)])
def test_generation_step_by_step(family, dtype, size, batch, spy):
    network = network_of(family, size, size, dtype, num_layers=2)
    state = {path: given(network, state_of(network, batch, dtype)) for path in ("native",)}
    state["reference"] = state["native"]
    for _ in range(6):
        x = torch.randn(1, batch, size, dtype=dtype)
        outputs = {}
        for path in state:
            with torch.no_grad(), hn.use_backend(path):
                outputs[path], state[path] = network(x, state[path])
        ours, theirs = ([outputs[path], *tensors(state[path])] for path in ("native", "reference"))
        assert worst(ours, theirs) <= TOLERANCE[dtype]
    assert spy.steps == 12
    assert spy.layers == 0


@native_families
@both_dtypes
def test_each_row_has_the_bits_that_it_has_alone(family, dtype):
    network = network_of(family, 35, 67, dtype, num_layers=2)
    rows = torch.randn(1, FEW_ROWS, 35, dtype=dtype)
    state = state_of(network, FEW_ROWS, dtype)
    with torch.no_grad(), hn.use_backend("native"):
        output, final = network(rows, given(network, state))
        together = [output, *tensors(final)]
        for some in (slice(0, 1), slice(5, 6), slice(2, 5), slice(7, 14), slice(15, 32)):
            output, final = network(rows[:, some], given(network, [tensor[:, some] for tensor in state]))
            for a, b in zip([output, *tensors(final)], together, strict=True):
                assert torch.equal(a, b[:, some])


@pytest.fixture(params=["hyper-lstm", "layer-norm-lstm", "rhn"])
def cell(request):

    return network_of(NATIVE[request.param], 5, 9).cell(0)


@pytest.fixture
def x():
    return torch.randn(2, 5, dtype=torch.float64)


@pytest.fixture
def state(cell):
    tensors = tuple(torch.randn(2, size, dtype=torch.float64) for size in cell.state_sizes)
    return tensors[0] if cell.state_type is None else tensors


def test_weights_changed_replaced_and_moved(cell, x, state):
    same_as_reference(cell, x, state)
    weights = cell.main if hasattr(cell, "main") else cell
    with torch.no_grad():
        weights.weight_h.mul_(2)
    same_as_reference(cell, x, state)
    weights.weight_h = nn.Parameter(torch.randn_like(weights.weight_h))
    same_as_reference(cell, x, state)
    weights.weight_x.data = torch.randn_like(weights.weight_x)
    same_as_reference(cell, x, state)
    weights.weight_x.data = torch.randn(weights.weight_x.shape[::-1], dtype=torch.float64).t()
    same_as_reference(cell, x, state)
    with torch.no_grad():
        weights.weight_x.mul_(2)
    same_as_reference(cell, x, state)
    cell.load_state_dict({name: torch.randn_like(tensor) for name, tensor in cell.state_dict().items()})
    same_as_reference(cell, x, state)


def test_a_weight_turned_or_spread_where_it_lies():
    square = hn.LSTMCell(16, 4, dtype=torch.float64)
    x = torch.randn(2, 16, dtype=torch.float64)
    same_as_reference(square, x, None)
    square.weight_x.data = square.weight_x.data.t()
    same_as_reference(square, x, None)
    square.weight_x.data = square.weight_x.data[:1].expand(16, 16)
    same_as_reference(square, x, None)


@native_families
def test_tensors_without_memory(family):
    network = network_of(family, 3, 5)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad(), hn.use_backend("native"):
        output, _ = network(mode.from_tensor(torch.randn(1, 2, 3, dtype=torch.float64)))
    assert output.shape == (1, 2, 5)


def test_other_dtype_and_thread_count(cell, x, state):
    same_as_reference(cell, x, state)
    cell.float()
    floats = state.float() if isinstance(state, torch.Tensor) else tuple(tensor.float() for tensor in state)
    same_as_reference(cell, x.float(), floats, 1e-5)
    cell.double()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        same_as_reference(cell, x, state)
    finally:
        torch.set_num_threads(threads)
    same_as_reference(cell, x[:1], state[:1] if isinstance(state, torch.Tensor) else tuple(s[:1] for s in state))


def test_another_epsilon():
    cell = hn.LSTMCell(5, 9, layer_norm=True, dtype=torch.float64)
    x = torch.randn(2, 5, dtype=torch.float64)
    before = same_as_reference(cell, x, None)
    cell.norm.eps = cell.cell_norm.eps = 0.5
    assert worst(same_as_reference(cell, x, None), before) > 1e-3
    cell.norm.eps = 0.1  # two of them: the reference serves
    same_as_reference(cell, x, None)


def test_parts_replaced_and_taken_away(cell, x, state):
    same_as_reference(cell, x, state)
    for name, module in list(cell.named_modules())[1:]:
        other = copy.deepcopy(module)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(torch.randn_like(parameter))
        cell.set_submodule(name, other)
        same_as_reference(cell, x, state)
    weights = cell.main if hasattr(cell, "main") else cell
    if getattr(weights, "norm", None) is not None:
        weights.norm = weights.cell_norm = None
        same_as_reference(cell, x, state)  # a HyperLSTM with a norm in one cell alone is the reference's


def test_weights_that_are_given_for_one_call(cell, x, state):
    before = same_as_reference(cell, x, state)
    others = {name: torch.randn_like(parameter) for name, parameter in cell.named_parameters()}
    given = (x, state)
    answers = []
    for path in ("native", "reference"):
        with torch.no_grad(), hn.use_backend(path):
            h, new = torch.func.functional_call(cell, others, given)
        answers.append([h, *tensors(new)])
    assert worst(*answers) <= 1e-10
    assert worst(same_as_reference(cell, x, state), before) == 0
    kept = weakref.ref(others.pop("weight_h" if "weight_h" in others else "main.weight_h"))
    gc.collect()
    assert kept() is None


def test_a_pruned_weight(x):
    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    state = (torch.randn(2, 9, dtype=torch.float64),) * 2
    same_as_reference(cell, x, state)
    prune.random_unstructured(cell, "weight_h", amount=0.5)
    same_as_reference(cell, x, state)
    with torch.no_grad():
        cell.weight_h_orig.mul_(2)
    same_as_reference(cell, x, state)
    prune.remove(cell, "weight_h")
    same_as_reference(cell, x, state)


def test_what_is_given_is_checked():
    cell = hn.HyperLSTMCell(5, 9, hyper_size=9, dtype=torch.float64)
    x, state = torch.randn(2, 5, dtype=torch.float64), (torch.randn(2, 9, dtype=torch.float64),) * 4
    same_as_reference(cell, x, state)
    first, *rest = state
    for message, other, bad in [
        ("input should be a tensor, got list", x.tolist(), state),
        (r"input should have shape .* with input_size 5, got \(2, 4\)", x[:, :4], state),
        (r"state\.h should have shape \(2, 9\), got \(1, 9\)", x, (first[:1], *rest)),
        (r"state\.h has dtype torch\.float32", x, (first.float(), *rest)),
        (r"state should hold 4 tensors .*, got 5", x, (first, *state)),
        (r"state\.h should be a tensor, got NoneType", x, (None, *rest)),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            step(cell, other, bad, "native")
    same_as_reference(cell, x, state)


def test_inputs_that_lie_in_other_ways(cell, x, state, spy):
    same_as_reference(cell, x, state)
    wide = torch.randn(2, 10, dtype=torch.float64)
    for other in (wide[:, ::2], wide.t()[:5].t(), torch.randn(5, 2, dtype=torch.float64).t()):
        same_as_reference(cell, other, state)
    one = [tensor[:1] for tensor in ((state,) if isinstance(state, torch.Tensor) else state)]
    one = one[0] if isinstance(state, torch.Tensor) else one
    for stride in (5, 50, 7):  # of a dimension of size 1: it means nothing
        same_as_reference(cell, wide.view(-1)[:5].as_strided((1, 5), (stride, 1)), one)
    assert spy.steps == 7
    assert spy.layers == 0


def test_a_parametrized_weight(x):
    class Double(nn.Module):
        def forward(self, weight):
            return 2 * weight

    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    before = same_as_reference(cell, x, None)
    parametrize.register_parametrization(cell, "weight_x", Double())
    assert worst(same_as_reference(cell, x, None), before) > 1e-3
    with torch.no_grad():
        cell.parametrizations.weight_x.original.mul_(3)
    same_as_reference(cell, x, None)


def test_copies_and_pickles(cell, x, state):
    before = same_as_reference(cell, x, state)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.mul_(1.5)
        assert worst(same_as_reference(other, x, state), before) == 0


def test_a_shallow_copy_goes_its_own_way(x):
    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    state = (torch.randn(2, 9, dtype=torch.float64),) * 2
    same_as_reference(cell, x, state)
    other = copy.copy(cell)
    other.__dict__["_parameters"] = {**cell._parameters, "bias": nn.Parameter(torch.randn(36, dtype=torch.float64))}
    same_as_reference(other, x, state)
    same_as_reference(cell, x, state)


def test_two_threads_at_once():
    cell = hn.HyperLSTMCell(64, 64, dtype=torch.float64)
    inputs = [torch.randn(1, 64, dtype=torch.float64) for _ in range(2)]
    expected = [step(cell, x, None, "reference") for x in inputs]
    wrong = []

    def work(k):
        wrong.extend(1 for _ in range(200) if worst(step(cell, inputs[k], None, "native"), expected[k]) > 1e-10)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_weight_that_reads_its_memory_in_another_way(x, spy):
    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    same_as_reference(cell, x, None)
    taken = spy.steps
    cell.weight_h = nn.Parameter(torch._neg_view(cell.weight_h.detach()), requires_grad=False)
    same_as_reference(cell, x, (torch.randn(x.shape[0], 9, dtype=torch.float64),) * 2)
    assert spy.steps == taken


def test_a_weight_of_another_shape_is_an_error(x):
    cell = hn.LSTMCell(5, 9, dtype=torch.float64)
    same_as_reference(cell, x, None)
    cell.weight_h = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"weight_h should have shape \(36, 9\), got \(3, 3\)"):
        step(cell, x, None, "native")
    cell.weight_h = nn.Parameter(torch.randn(36, 9))
    with pytest.raises(TypeError, match=r"weight_h should be torch\.float64"):
        step(cell, x, None, "native")
