"""Hooks of networks, cells and the parts of cells: they run, or they are refused by name."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import hypernetworks as hn

from .families import H, I, all_families, close, hyper_families, tensors

T, B = 3, 2


def random(*shape, **others):
    return torch.randn(*shape, dtype=torch.float64, **others)


def old_weight_norm(module, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(module, name)


def old_spectral_norm(module, name):
    nn.utils.spectral_norm(module, name)


def pruned(module, name):
    prune.l1_unstructured(module, name, 0.5)


REPARAMETRIZATIONS = {
    "weight_norm": old_weight_norm,
    "spectral_norm": old_spectral_norm,
    "prune": pruned,
    "parametrizations.weight_norm": parametrizations.weight_norm,
}


def holders(network):
    """The modules of the first cell that hold parameters of their own, each with one of them."""
    for path, module in network.cells[0].named_modules():
        names = [name for name, _ in module.named_parameters(recurse=False)]
        if names:
            yield path, "weight_h" if "weight_h" in names else names[0]


def effective(network, make, path, name, x):
    """A copy of the network in which the weight is what the reparametrization makes of it now, as a plain parameter."""
    plain = copy.deepcopy(network)
    made = copy.deepcopy(network.cells[0].get_submodule(path)).eval()
    make(made, name)
    for hook in made._forward_pre_hooks.values():
        hook(made, ())
    with torch.no_grad():
        plain.cells[0].get_submodule(path).get_parameter(name).copy_(getattr(made, name))
    return plain(x)[0]


@all_families
@pytest.mark.parametrize("make", REPARAMETRIZATIONS.values(), ids=REPARAMETRIZATIONS.keys())
def test_reparametrized_weights_act_and_learn_in_every_module(family, make):
    x = random(T, B, I)
    original = family.network()
    for path, name in holders(original):
        network = copy.deepcopy(original)
        module = network.cells[0].get_submodule(path)
        if make is old_spectral_norm and module.get_parameter(name).dim() < 2:
            continue
        torch.manual_seed(1)
        make(module, name)
        network.eval()
        torch.manual_seed(1)
        close(network(x)[0], effective(original, make, path, name, x), 1e-12)
        network.train()
        before = network(x)[0]
        for _ in range(2):  # a weight that is made once only would fail at the second backward pass
            network.zero_grad()
            network(x)[0].square().sum().backward()
            torch.optim.SGD(network.parameters(), 0.1).step()
        named = [key for key, _ in module.named_parameters() if name in key]
        assert any(module.get_parameter(key).grad.any() for key in named), path
        assert not torch.equal(network(x)[0], before), path


@all_families
def test_a_pruned_checkpoint_answers_with_its_own_weights(family):
    first, second = family.network(), family.network()
    for network in (first, second):
        for path, name in holders(network):
            prune.l1_unstructured(network.cells[0].get_submodule(path), name, 0.5)
    x = random(T, B, I)
    expected = first(x)[0]
    second(x)
    second.load_state_dict(first.state_dict())
    close(second(x)[0], expected, 0)
    cell, (other, state) = second.cells[0], (first.cells[0], family.state(B))
    close(cell(x[0], state)[0], other(x[0], state)[0], 0)
    with torch.no_grad():
        close(cell(x[0], state)[0], other(x[0], state)[0], 0)


@all_families
def test_forward_hooks_of_a_cell_run_once_for_each_layer(family):
    network, x = family.network(num_layers=2), random(T, B, I)
    expected = network(x)[0]
    seen = []

    def before(cell, given):
        seen.append(("before", cell, given[0].shape))

    def after(cell, given, result):
        seen.append(("after", cell, result[0].shape))
        return 2 * result[0], result[1]

    for cell in network.cells:
        cell.register_forward_pre_hook(before)
    network.cells[1].register_forward_hook(after)
    close(network(x)[0], 2 * expected, 0)
    first, second = network.cells
    assert seen == [
        ("before", first, (T * B, I)),
        ("before", second, (T * B, H)),
        ("after", second, (T * B, H)),
    ]


@all_families
def test_backward_hooks_of_a_cell_get_its_gradients(family):
    network, x = family.network(num_layers=2), random(T, B, I, requires_grad=True)
    seen = {}
    cell = network.cells[0]
    cell.register_full_backward_hook(lambda _, into, out: seen.update(into=into[0], out=out[0]))
    cell.register_full_backward_pre_hook(lambda _, out: seen.update(pre=out[0]))
    output, _ = network(x)
    (gradient,) = torch.autograd.grad(output.square().sum(), x)
    close(seen["into"].view_as(x), gradient, 0)
    assert seen["out"].shape == (T * B, H)
    assert torch.equal(seen["pre"], seen["out"])


def registered(module, kind):
    return getattr(module, f"register_{kind}_hook")(lambda *_: None)


@all_families
@pytest.mark.parametrize("kind", ["forward", "full_backward", "full_backward_pre"])
def test_hooks_of_the_parts_of_a_cell_that_would_never_run_are_refused(family, kind):
    network, x = family.network(), random(T, B, I)
    cell = network.cells[0]
    parts = [(path, module) for path, module in cell.named_modules() if path]
    for path, module in parts:
        hook = registered(module, kind)
        for call in (lambda: network(x), lambda: cell(x[0])):
            with pytest.raises(
                RuntimeError, match=rf"^{path} \({type(module).__name__}\) has a (forward|backward) hook"
            ):
                call()
        hook.remove()
    network(x)


@hyper_families
def test_pre_hooks_of_the_parts_run_in_every_call(family):
    network, x = family.network(), random(T, B, I)
    counts = {}

    def counted(path):
        def hook(*given):
            counts[path] = counts.get(path, 0) + 1

        return hook

    parts = [(path, module) for path, module in network.cells[0].named_modules() if path]
    for path, module in parts:
        module.register_forward_pre_hook(counted(path))
        module.register_forward_pre_hook(counted(path), with_kwargs=True)
    network(x)
    assert counts == {path: 2 for path, _ in parts}
    hn.trace(network, x)
    assert counts == {path: 4 for path, _ in parts}
    with torch.no_grad():
        network.cells[0](x[0], family.state(B))
    assert counts == {path: 6 for path, _ in parts}


@pytest.mark.filterwarnings("ignore:FSDP2-wrapped module .* returned a view tensor")
@all_families
def test_a_cell_may_be_sharded(family):
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    network, x = family.network(num_layers=2, dtype=torch.float32), torch.randn(T, B, I)
    expected, state = network(x)
    store = torch.distributed.HashStore()
    init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for cell in network.cells:
            fully_shard(cell, mesh=mesh)
        fully_shard(network, mesh=mesh)
        output, final = network(x)
        close((output, *tensors(final)), (expected, *tensors(state)), 1e-6)
        output.sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
    finally:
        destroy_process_group()
