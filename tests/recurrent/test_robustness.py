"""What must never give a wrong number silently: replicas, resets, assignments, overrides, transforms, changes in place."""

import inspect

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.export import Dim, export

import hypernetworks as hn

from .families import FAMILIES, H, I, all_families, close, tensors

T, B = 4, 3


def random(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def replica(network):
    """As torch.nn.parallel.replicate makes it: the parameters are plain tensors, attributes of their modules."""
    copies = {module: module._replicate_for_data_parallel() for module in network.modules()}
    for module, copy in copies.items():
        for name, child in module._modules.items():
            if child is not None:
                setattr(copy, name, copies[child])
        for name, parameter in module._parameters.items():
            if parameter is not None:
                setattr(copy, name, parameter * 1)
    return copies[network]


@all_families
def test_a_replica_computes_what_its_original_does(family):
    network = family.network(num_layers=2)
    twin, batches = replica(network), [random(T, B, I) for _ in range(2)]
    assert not list(twin.parameters())
    outputs = list(map(twin, batches))
    assert len(outputs) == 2
    for (output, state), x in zip(outputs, batches, strict=True):
        expected, expected_state = network(x)
        close((output, *tensors(state)), (expected, *tensors(expected_state)), 0)
    h, _ = twin.cells[0](batches[0][0])
    close(h, network.cells[0](batches[0][0])[0], 0)


def reset_each(modules):
    for module in modules:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()


def constants(network):
    """The initial value of every parameter that starts constant along its last dimension; None for the others."""
    return {
        name: parameter[..., 0] if (parameter == parameter[..., :1]).all() else None
        for name, parameter in network.named_parameters()
    }


@all_families
def test_a_reset_in_any_order_of_modules_initialises_all(family):
    fresh = constants(family.network_type(I, H, 2, dtype=torch.float64, **family.options))
    for order in (list, reversed):
        network = family.network(num_layers=2)
        reset_each(order(list(network.modules())))
        for name, value in constants(network).items():
            expected = fresh[name]
            assert (value is None) == (expected is None), name
            assert value is None or torch.equal(value, expected), name


@all_families
def test_a_reset_draws_what_a_construction_draws(family):
    def make(**others):
        return family.network_type(I, H, 2, bidirectional=True, **family.options, **others)

    torch.manual_seed(5)
    expected = make()
    after = torch.randn(())
    network = make(device="meta").to_empty(device="cpu")
    torch.manual_seed(5)
    network.reset_parameters()
    assert torch.equal(torch.randn(()), after)
    for (name, a), b in zip(network.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b), name


@all_families
def test_skip_init(family):
    for make in (family.network_type, family.cell_type):
        module = nn.utils.skip_init(make, I, H, **family.options)
        assert {parameter.device.type for parameter in module.parameters()} == {"cpu"}
        module.reset_parameters()


@all_families
def test_signatures_are_complete(family):
    for make in (family.network_type, family.cell_type):
        kinds = {parameter.kind for parameter in inspect.signature(make).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds
        assert inspect.Parameter.VAR_POSITIONAL not in kinds
        assert {"device", "dtype", "recurrent_dropout"} <= set(inspect.signature(make).parameters)


def test_the_depth_is_the_same_by_default_everywhere():
    for make in (hn.RHN, hn.RHNCell, hn.HyperRHN, hn.HyperRHNCell):
        assert inspect.signature(make).parameters["depth"].default == 5


@all_families
def test_recurrent_dropout_may_be_assigned(family):
    x = random(T, B, I)
    network = family.network(num_layers=2)
    expected = network(x)[0]
    first = network.cells[0]
    for assigned in (network, first, getattr(first, "main", first)):
        assigned.recurrent_dropout = 0.5
        assert network.recurrent_dropout == first.recurrent_dropout == 0.5
        assert getattr(first, "main", first).recurrent_dropout == 0.5
        assert not torch.equal(network(x)[0], expected)
        assert not torch.equal(first(x[0])[0], family_eval(first, x[0]))
        for wrong in (1.0, -0.1):
            with pytest.raises(ValueError, match=r"recurrent_dropout should lie in \[0, 1\)"):
                assigned.recurrent_dropout = wrong
        with pytest.raises(TypeError, match="recurrent_dropout should be a number"):
            assigned.recurrent_dropout = "half"
        network.recurrent_dropout = 0.0
        close(network(x)[0], expected, 0)


def family_eval(cell, x):
    """The cell's h without dropout."""
    cell.eval()
    h = cell(x)[0]
    cell.train()
    return h


@all_families
@pytest.mark.parametrize("way", ["subclass", "mixin", "object"])
def test_own_equations_are_computed_on_every_path(family, way):
    """A cell whose step doubles h: no kernel may stand for it."""

    def doubled(cell):
        method = family.cell_type.advance

        def advance(*given):
            h, *others = method(*([cell] if cell is not None else []), *given)
            return 2 * h, *others

        return advance

    class Doubled:
        advance = doubled(None)

    network = family.network()
    cell, x = network.cells[0], random(T, B, I)
    if way == "object":
        cell.advance = doubled(cell)
    else:
        bases = (Doubled, family.cell_type)
        body = {"advance": Doubled.advance} if way == "subclass" else {}
        own = type("Own", bases[way == "subclass" :], body)
        assert own.native is None
        cell.__class__ = own
    with torch.no_grad():
        for given in (x, x[:1]):
            output = network(given)[0]
            with hn.use_backend("reference"):
                close(output, network(given)[0], 1e-12)
        h, plain = cell(x[0])[0], family.cell_type.advance
        cell.__class__, cell.__dict__["advance"] = family.cell_type, plain.__get__(cell)
        close(h, 2 * cell(x[0])[0], 1e-12)


@all_families
@pytest.mark.parametrize("way", ["subclass", "object"])
def test_an_own_step_of_any_plain_cell_is_computed_on_every_path(family, way):
    """A plain cell whose step doubles h: alone, as the main network, and as the LSTM of a hyper cell."""
    network, x = family.network(num_layers=2), random(T, B, I)
    cell = network.cells[0]
    for part in [cell.main, cell.hyper.lstm] if family.is_hyper else [cell]:
        kind, plain = type(part), type(part).step

        def step(*given, plain=plain):
            h, *others = plain(*given)
            return 2 * h, *others

        with torch.no_grad():
            before = network(x)[0]
            if way == "object":
                part.step = step
            else:
                part.__class__ = type("Own", (kind,), {"step": staticmethod(step)})
            for given in (x, x[:1]):
                with hn.use_backend("reference"):
                    expected = network(given)[0]
                assert not torch.allclose(expected, before[: len(given)], atol=1e-6)
                close(network(given)[0], expected, 1e-12)
                with network.stepper(B) as stepper:
                    close(torch.stack([stepper(row) for row in given]), expected, 1e-12)
            part.__class__ = kind
            part.__dict__.pop("step", None)
            close(network(x)[0], before, 0)


def test_a_subclass_may_name_another_type_of_cell():
    class LeakyCell(hn.HyperLSTMCell):
        def advance(self, inputs, state, weights, mask):
            h, *others = super().advance(inputs, state, weights, mask)
            return (h + state[0]) / 2, *others

    class Leaky(hn.HyperLSTM):
        cell_type = LeakyCell

    network, x = Leaky(I, H, 2, hyper_size=4), random(T, B, I, dtype=torch.float32)
    assert {type(cell) for cell in network.cells} == {LeakyCell}
    with hn.use_backend("reference"):
        expected = network(x)[0]
    close(network(x)[0], expected, 1e-6)


def test_printing_shows_what_is_not_the_default():
    for make in (hn.LSTM, hn.GRU, hn.RNN):
        assert repr(make(3, 5)).splitlines()[0] == f"{make.__name__}("
        shown = repr(make(3, 5, bias=False, layer_norm=True, layer_norm_eps=0.01, recurrent_dropout=0.5))
        assert "(3, 5, bias=False" in shown.replace("\n", "").replace(f"{make.__name__}(  ", "(")
        for part in ("bias=False, layer_norm=True, recurrent_dropout=0.5", "eps=0.01"):
            assert part in shown, shown
    shown = repr(hn.HyperLSTM(3, 5, init="paper", layer_norm=False))
    assert "init='paper'" in shown
    assert "layer_norm=True" not in shown
    assert "transform_bias=-4.0" in repr(hn.RHN(3, 5, transform_bias=-4.0))


@all_families
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("steps", [1, T])
def test_the_output_may_be_changed_in_place_as_torchs(family, layers, steps):
    network, x = family.network(num_layers=layers), random(steps, B, I)
    parameters = list(network.parameters())

    def answer(change):
        output, state = network(x)
        kept = [part.clone() for part in tensors(state)]
        output = change(output)
        assert all(torch.equal(a, b) for a, b in zip(tensors(state), kept, strict=True))
        loss = output.square().sum() + sum(part.sum() for part in tensors(state))
        return output, *torch.autograd.grad(loss, parameters)

    close(answer(lambda output: output.mul_(2)), answer(lambda output: output * 2), 1e-12)


@all_families
def test_a_cell_exported_with_an_open_batch_takes_any(family):
    cell = family.cell(dtype=torch.float32).eval()
    with torch.no_grad():
        program = export(cell, (random(3, I, dtype=torch.float32),), dynamic_shapes=({0: Dim("batch")},), strict=False)
    for rows in (2, 100):
        x = random(rows, I, dtype=torch.float32)
        (h, state), (expected, expected_state) = program.module()(x), cell(x)
        close((h, *tensors(state)), (expected, *tensors(expected_state)), 1e-5)


@all_families
def test_a_network_exported_with_an_open_batch_takes_any(family):
    network = family.network(dtype=torch.float32).eval()
    for steps in (1, 3):
        given = (random(steps, 3, I, dtype=torch.float32),)
        with torch.no_grad():
            program = export(network, given, dynamic_shapes=({1: Dim("batch")},), strict=False)
        for rows in (2, 100):
            x = random(steps, rows, I, dtype=torch.float32)
            (output, state), (expected, expected_state) = program.module()(x), network(x)
            close((output, *tensors(state)), (expected, *tensors(expected_state)), 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, T])
def test_a_closed_gate_is_exactly_zero(dtype, steps):
    lstm = hn.LSTM(I, H, dtype=dtype)
    ones = torch.ones(1, B, H, dtype=dtype)
    with torch.no_grad():
        lstm.cell(0).bias.fill_(-1000.0)
        output, (_, c) = lstm(random(steps, B, I, dtype=dtype), (ones, ones))
    assert not output.any()
    assert not c.any()


@pytest.mark.parametrize("name", ["gru", "hyper-lstm", "hyper-gru", "hyper-rnn", "hyper-rhn"])
def test_another_number_of_steps_compiles_nothing_again(name, path):
    """On the native path a graph is that of one operator per layer. The reference path is a graph for each T."""
    if path == "reference":
        pytest.skip("the loop over time is a part of the graph")
    network, counter = FAMILIES[name].network(dtype=torch.float32), CompileCounter()
    compiled = torch.compile(network, backend=counter, fullgraph=True)
    for steps in (3, 4, 5, 9):
        x = random(steps, B, I, dtype=torch.float32)
        close(compiled(x)[0], network(x)[0], 1e-5)
    assert counter.frame_count <= 2  # a first one for this T alone, a second for any


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("make", [hn.LSTM, hn.HyperLSTM])
def test_transforms_of_torch_func_compile_as_one_graph(make, backend):
    network, x = make(I, H), random(2, B, I, dtype=torch.float32)
    parameters = dict(network.named_parameters())

    def loss(parameters, sequence):
        return torch.func.functional_call(network, parameters, (sequence,))[0].square().sum()

    def of_each_sample(x):
        return torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(parameters, x)

    with hn.use_backend(backend):
        found = torch.compile(of_each_sample, fullgraph=True, backend="eager")(x)
        for name, expected in of_each_sample(x).items():
            close(found[name], expected, 1e-5)
