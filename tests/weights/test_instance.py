"""A call leaves the target as it was, and is not affected by what else runs: duplicates, threads, checkpoints, attributes."""

import copy
import functools
import gc
import threading
import types
import warnings
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import hypernetworks as hn

from .targets import GENERATORS, C, ResidualBlock, close, mlp, shake

B = 4


def state_of(target):
    """Everything in a target that a call might change."""
    return [
        (
            module,
            {name: id(value) for name, value in module.__dict__.items()},
            {name: (id(value), value.clone()) for name, value in module._parameters.items() if value is not None},
            {name: (id(value), value.clone()) for name, value in module._buffers.items() if value is not None},
            set(module._non_persistent_buffers_set),
            dict(module._modules),
            {name: copy.copy(value) for name, value in module.__dict__.items() if isinstance(value, list | dict | set)},
        )
        for module in target.modules()
    ]


def assert_unchanged(target, before):
    after = state_of(target)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert old[0] is new[0]
        assert old[1] == new[1]
        for old_tensors, new_tensors in zip(old[2:4], new[2:4], strict=True):
            assert old_tensors.keys() == new_tensors.keys()
            for name, (identity, value) in old_tensors.items():
                assert new_tensors[name][0] == identity, name
                assert torch.equal(new_tensors[name][1], value), name
        assert old[4:6] == new[4:6]
        assert old[6].keys() == new[6].keys()


class TwoNames(nn.Module):
    """A submodule that is registered under two names and used once."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.features = nn.Sequential(self.linear, nn.Tanh())

    def forward(self, x):
        return self.features(x) + self.linear(x)


def expected_of(target, weights, *args):
    """The target with these weights loaded into a copy."""
    twin = copy.deepcopy(target)
    for name, tensor in weights.items():
        twin.get_parameter(name).data = tensor.detach().clone()
    return twin(*args)


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_submodule_under_two_names(kind):
    target = TwoNames()
    net = hn.HyperNetwork(target, GENERATORS[kind]())
    shake(net)
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    expected = expected_of(target, net.generate(c), x)
    for _ in range(3):  # updates of the target's own weights do not add up
        close(net(x, condition=c), expected)
    each = net(x, condition=c.expand(B, C))
    close(each, expected)
    close(net(x, condition=c), expected)
    net(x, condition=c).sum().backward()
    assert_unchanged(target, before)


def test_a_submodule_under_two_names_in_one_graph():
    torch._dynamo.reset()
    target = TwoNames()
    net = hn.HyperNetwork(target, GENERATORS["low-rank"]())
    shake(net)
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    expected = expected_of(target, net.generate(c), x)
    for _ in range(2):
        close(run(x, condition=c), expected)
    program = torch.export.export(net, (x,), {"condition": c})
    close(program.module()(x, condition=c), expected)
    close(net(x, condition=c), expected)
    assert_unchanged(target, before)


def test_a_parameter_under_two_names_of_one_module():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))
            self.b = self.a

        def forward(self, x):
            return x @ self.a @ self.b

    net = hn.HyperNetwork(Twice(), hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    (W,) = net.generate(c).values()
    close(net(x, condition=c), x @ W @ W)


def test_threads_with_different_conditions():
    target = nn.Sequential(ResidualBlock(), nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64)).eval()
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"), nn.Linear)
    shake(net)
    before = state_of(target)
    x = torch.randn(B, 4, 2, 2, dtype=torch.float64)
    conditions = torch.randn(200, C, dtype=torch.float64)
    features = target[:2](x)
    with torch.no_grad():
        weights = [net.generate(c) for c in conditions]
        expected = [features @ W["2.weight"].T + W["2.bias"] for W in weights]
    answers = [None] * len(conditions)

    def work(first):
        for k in range(first, len(conditions), 8):
            answers[k] = net(x, condition=conditions[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer, one in zip(answers, expected, strict=True):
        close(answer, one)
    assert_unchanged(target, before)


def test_two_forward_passes_before_a_backward_pass():
    net, twin = (hn.HyperNetwork(mlp(), GENERATORS["full"](init="hyperfan-in")) for _ in range(2))
    twin.load_state_dict(net.state_dict())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    first, second = net(x, condition=c[0]), net(x, condition=c[1])
    (first * second).sum().backward()
    y = [functional_call(twin.target, twin.generate(each), x) for each in c]
    (y[0] * y[1]).sum().backward()
    for mine, theirs in zip(net.generator.parameters(), twin.generator.parameters(), strict=True):
        close(mine.grad, theirs.grad)


class Checkpointed(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 5)) for _ in range(3)
        ).double()
        self.reentrant = reentrant

    def forward(self, x):
        for block in self.blocks:
            x = x + (block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant))
        return x


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_checkpoint_in_the_target_recomputes_with_the_same_weights(kind):
    net = hn.HyperNetwork(Checkpointed(), GENERATORS[kind]())
    shake(net)
    twin = copy.deepcopy(net)
    twin.target.reentrant = False
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    gradients = []
    for each in (net, twin):
        torch.manual_seed(0)
        loss = each(x, condition=c[0]).square().sum() + each(x, condition=c[1]).square().sum()
        loss.backward()
        gradients.append([parameter.grad for parameter in each.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        close(recomputed, plain)


def test_a_reentrant_checkpoint_in_the_target_is_refused():
    net = hn.HyperNetwork(Checkpointed(reentrant=True), GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        net(x, condition=c).sum().backward()


def test_a_reentrant_checkpoint_around_the_network():
    net = hn.HyperNetwork(Checkpointed(), GENERATORS["full"]()).eval()
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64, requires_grad=True), torch.randn(C, dtype=torch.float64)
    net(x, condition=c).square().sum().backward()
    plain = [parameter.grad.clone() for parameter in net.generator.parameters()]
    net.zero_grad()
    checkpoint(lambda x: net(x, condition=c), x, use_reentrant=True).square().sum().backward()
    for parameter, expected in zip(net.generator.parameters(), plain, strict=True):
        close(parameter.grad, expected)


class Keeps(nn.Module):
    """Keeps what it computes: an attribute, a list, a dictionary, and a buffer, assigned or changed in place."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.seen = []
        self.tables = {}
        self.register_buffer("running", torch.zeros(5, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        y = self.linear(x)
        self.last = y
        self.seen.append(y)
        self.tables[len(self.tables)] = y
        self.running = 0.9 * self.running + 0.1 * y.detach().mean(0)
        with torch.no_grad():
            self.count += 1
        return y + self.running


@pytest.mark.filterwarnings("ignore:the buffer count of the target was changed:RuntimeWarning")
def test_what_a_target_keeps_does_not_reach_it_but_for_buffers_in_training():
    target = Keeps()
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    shake(net)
    twin = copy.deepcopy(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net.eval()
    before = state_of(target)
    net(x, condition=c)
    assert_unchanged(target, before)
    assert (target.seen, target.tables, hasattr(target, "last")) == ([], {}, False)
    net.train()
    twin.linear.weight.data, twin.linear.bias.data = (tensor.detach() for tensor in net.generate(c).values())
    for _ in range(2):
        close(net(x, condition=c), twin(x))
    close(target.running, twin.running)
    close(target.count, twin.count)
    assert target.count.item() == 2
    assert target.running.grad_fn is None
    assert (target.seen, target.tables, hasattr(target, "last")) == ([], {}, False)
    copy.deepcopy(net)


def test_a_buffer_changed_in_place_in_evaluation_mode_is_named_in_a_warning():
    net = hn.HyperNetwork(Keeps(), GENERATORS["full"]()).eval()
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match=r"the buffer count of the target was changed in evaluation mode.*using"):
        net(x, condition=c)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with net.using(c) as adapted:
            for _ in range(3):
                adapted(x)
        assert adapted.count.item() == 3


def test_a_buffer_that_is_assigned_in_one_graph():
    torch._dynamo.reset()

    class Assigns(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 5, dtype=torch.float64)
            self.register_buffer("running", torch.zeros(5, dtype=torch.float64))

        def forward(self, x):
            self.running = 0.9 * self.running + 0.1 * x.mean(0)
            return self.linear(x) + self.running

    net = hn.HyperNetwork(Assigns(), GENERATORS["full"]())
    plain = copy.deepcopy(net)
    run = torch.compile(net, fullgraph=True, backend="aot_eager")
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    for _ in range(3):
        close(run(x, condition=c), plain(x, condition=c))
        close(net.target.running, plain.target.running)


def test_cached_parametrisations_are_refused():
    target = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 5, dtype=torch.float64)), nn.ReLU())
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    with nn.utils.parametrize.cached(), pytest.raises(ValueError, match=r"parametrize\.cached\(\) would mix up"):
        net(x, condition=c)
    with nn.utils.parametrize.cached():
        hn.HyperNetwork(mlp(), hn.FullGenerator(C))(x, condition=c)


def test_a_buffer_that_is_registered_while_training():
    class Registers(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 4, dtype=torch.float64)

        def forward(self, x):
            if "mean" not in self._buffers:
                self.register_buffer("mean", x.mean(0), persistent=False)
            return self.linear(x - self.mean)

    target = Registers().eval()
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    before = state_of(target)
    y = net(x, condition=c)
    assert_unchanged(target, before)
    target.train()
    net(x, condition=c)
    close(target.mean, x.mean(0))
    assert list(target.state_dict()) == ["linear.weight", "linear.bias"]
    close(net(x, condition=c), y)


def test_a_buffer_in_two_modules_is_one():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.BatchNorm1d(5).double(), nn.BatchNorm1d(5).double()
            self.b._buffers["running_mean"] = self.a.running_mean

        def forward(self, x):
            return self.b(self.a(x))

    target = Shared()
    plain = copy.deepcopy(target)
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    close(net(x, condition=c), plain(x))
    close(target.a.running_mean, plain.a.running_mean)
    assert target.a.running_mean is target.b.running_mean


@pytest.mark.parametrize("per_sample", [False, True])
def test_hooks_that_the_target_registers_while_it_runs_stay_in_the_copy(per_sample):
    """As the models of transformers do for output_hidden_states=True."""

    class Recording(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = mlp()

        def forward(self, x):
            outputs = []
            layer = self.layers[0]
            layer.register_forward_pre_hook(lambda module, args, kwargs: None, with_kwargs=True)
            layer.register_forward_hook(
                lambda module, args, kwargs, y: outputs.append(y), with_kwargs=True, always_call=True
            )
            layer.register_full_backward_pre_hook(lambda module, gradient: None)
            layer.register_full_backward_hook(lambda module, gradient, other: None)
            y = self.layers(x)
            assert len(outputs) == 1
            return y, outputs[0]

    target = Recording()
    net = hn.HyperNetwork(target, hn.LowRankGenerator(C, rank=2))
    before = state_of(target)
    c = torch.randn(*((B, C) if per_sample else (C,)), dtype=torch.float64)
    for _ in range(2):
        net(torch.randn(B, 5, dtype=torch.float64, requires_grad=True), condition=c)[0].sum().backward()
    assert_unchanged(target, before)


def test_hooks_of_the_target_run_and_get_the_copy():
    target = mlp()
    seen = []

    def note(module, args, output):
        module.output = output
        seen.append((module, output))
        return output + 1

    target[0].register_forward_pre_hook(lambda module, args: (2 * args[0],))
    target[2].register_forward_hook(note)
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W = net.generate(c)
    y = (2 * x @ W["0.weight"].T + W["0.bias"]).relu() @ W["2.weight"].T + W["2.bias"]
    close(net(x, condition=c), y + 1)
    ((module, output),) = seen
    assert module is not target[2]
    assert module.output is output
    assert isinstance(module, nn.Linear)
    close(output, y)
    assert_unchanged(target, before)


class Holder:
    def __init__(self, *layers):
        self.layers = layers


class Refers(nn.Module):
    """Reaches its layer by a reference of some kind, not by its registered name."""

    def __init__(self, way):
        super().__init__()
        self.linear = nn.Linear(5, 5, dtype=torch.float64)
        self.way = way
        linear = self.linear
        if way == "method":
            self.forward = types.MethodType(lambda self, x: self.linear(x), self)
        if way == "partial":
            self.run = functools.partial(self.apply_twice, 1, scale=self.linear.weight)
        if way == "closure":
            self.run = lambda x: linear(x)
        if way == "list":
            self.run = [[linear]]
        if way == "tuple":
            self.run = (linear,)
        if way == "dict":
            self.run = {"layers": {"first": linear}}
        if way == "key":
            self.run = {linear: 1}
        if way == "set":
            self.run = {linear}
        if way == "bound":
            self.run = linear.forward
        if way == "unregistered":
            self.run = (nn.Sequential(linear),)
        if way == "weak":
            self.run = weakref.ref(linear)
        if way == "parent":
            self.child = nn.Identity()
            self.child.parents = [self]
        if way == "parameter":
            self.run = [linear.weight, linear.bias]
        if way == "object":
            self.run = Holder(linear)
        if way == "hook":
            self.child = nn.Identity()
            self.child.register_forward_hook(lambda module, args, output: linear(output))
        if way == "hook of a method":
            self.child = nn.Identity()
            self.child.register_forward_hook(self.through)

    def through(self, module, args, output):
        return self.linear(output)

    def apply_twice(self, times, x, scale):
        assert torch.equal(scale, self.linear.weight)
        return self.linear(x) * times

    def forward(self, x):
        way = self.way
        if way in ("partial", "closure", "bound"):
            return self.run(x)
        if way in ("tuple", "unregistered", "key", "set"):
            return next(iter(self.run))(x)
        if way == "list":
            return self.run[0][0](x)
        if way == "dict":
            return self.run["layers"]["first"](x)
        if way == "weak":
            return self.run()(x)
        if way == "object":
            return self.run.layers[0](x)
        if way == "parent":
            return self.child.parents[0].linear(x)
        if way == "parameter":
            return nn.functional.linear(x, *self.run)
        return self.child(x)


WAYS = [
    "method",
    "partial",
    "closure",
    "list",
    "tuple",
    "dict",
    "key",
    "set",
    "bound",
    "unregistered",
    "weak",
    "parent",
]
WAYS += ["object", "parameter", "hook", "hook of a method"]


@pytest.mark.parametrize("way", WAYS)
def test_whatever_refers_to_a_module_of_the_target_finds_its_copy(way):
    target = Refers(way)
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    before = state_of(target)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    for each in c:
        W = net.generate(each)
        close(net(x, condition=each), x @ W["linear.weight"].T + W["linear.bias"])
    assert_unchanged(target, before)


def replace_module(target):
    target[1] = nn.Tanh()


def hook_module(target):
    target[1].register_forward_hook(lambda module, args, output: 3 * output)


def patch_forward(target):
    target[1].forward = types.MethodType(lambda self, x: x.cos(), target[1])


def change_class(target):
    target[1].__class__ = nn.Sigmoid


def refer(target):
    target[1].inplace = False
    target[1].__class__ = Referring
    target[1].inplace = (target[2],)


class Referring(nn.ReLU):
    def forward(self, x):
        return x + 0 * self.inplace[0].weight.sum()


@pytest.mark.parametrize("change", [replace_module, hook_module, patch_forward, change_class, refer, nn.Module.eval])
def test_a_target_that_is_changed_between_calls_runs_as_it_is_now(change):
    target = nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5), nn.Dropout(0.5)).double()
    target[3].p = 0.0
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    y = net(x, condition=c)
    change(target)
    W = net.generate(c)
    h = target[1](x @ W["0.weight"].T + W["0.bias"])
    close(net(x, condition=c), h @ W["2.weight"].T + W["2.bias"])
    assert change in (nn.Module.eval, refer) or not torch.equal(net(x, condition=c), y)


def test_a_target_whose_parameters_have_other_names_now():
    target = mlp()
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    net(x, condition=c)
    del target[1]
    with pytest.raises(ValueError, match=r"changed since it was wrapped: added \['1\.weight', '1\.bias'\]"):
        net(x, condition=c)


@pytest.mark.parametrize("samples", [(), (B,)])
@pytest.mark.parametrize("train", [True, False])
def test_the_target_is_the_same_afterwards(train, samples):
    target = nn.Sequential(ResidualBlock(), nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64)).train(train)
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    before, statistics = state_of(target), [buffer.clone() for buffer in target.buffers()]
    net(
        torch.randn(B, 4, 2, 2, dtype=torch.float64), condition=torch.randn(*samples, C, dtype=torch.float64)
    ).sum().backward()
    if train:  # the running statistics, in the buffers that it has
        assert any(not torch.equal(a, b) for a, b in zip(target.buffers(), statistics, strict=True))
        for buffer, value in zip(target.buffers(), statistics, strict=True):
            buffer.copy_(value)
    assert_unchanged(target, before)


def test_hypernetworks_within_a_target():
    inner = hn.HyperNetwork(nn.Linear(5, 5, dtype=torch.float64), hn.RowScaleGenerator(C))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x, c):
            return self.inner(x, condition=c)

    net = hn.HyperNetwork(Outer(), hn.FullGenerator(C, init="hyperfan-in"), "inner.target.*")
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(2, C, dtype=torch.float64)
    W = net.generate(c[0])
    scales = inner.generator(c[1], {name.rpartition(".")[2]: tensor for name, tensor in W.items()})
    close(net(x, c[1], condition=c[0]), x @ scales["weight"].T + scales["bias"])


def test_a_transform_of_torch_that_gives_the_parameters():
    net = hn.HyperNetwork(TwoNames(), GENERATORS["low-rank"]())
    shake(net)
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    given = {name: value.detach() * 2 for name, value in net.named_parameters()}
    plain = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.mul_(2)
    close(functional_call(net, given, (x,), {"condition": c}), plain(x, condition=c))


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_torchscript_in_a_target():
    scripted = torch.jit.trace(nn.Linear(5, 5, dtype=torch.float64), torch.randn(B, 5, dtype=torch.float64))
    target = nn.Sequential(scripted, nn.Linear(5, 3, dtype=torch.float64))
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"), "1.*")
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    W = net.generate(c)
    close(net(x, condition=c), scripted(x) @ W["1.weight"].T + W["1.bias"])
    with pytest.raises(ValueError, match=r"0\.weight is in a module of TorchScript"):
        hn.HyperNetwork(target, hn.FullGenerator(C))


def test_compiled_parts_of_a_target_run_with_the_weights():
    torch._dynamo.reset()
    target = mlp()
    target[2].compile(backend="eager")
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x = torch.randn(B, 5, dtype=torch.float64)
    for c in torch.randn(2, C, dtype=torch.float64):
        W = net.generate(c)
        h = (x @ W["0.weight"].T + W["0.bias"]).relu()
        close(net(x, condition=c), h @ W["2.weight"].T + W["2.bias"])


def test_an_optimized_module_in_a_target():
    torch._dynamo.reset()
    target = nn.Sequential(torch.compile(mlp(), backend="eager"), nn.ReLU())
    net = hn.HyperNetwork(target, hn.FullGenerator(C, init="hyperfan-in"))
    x = torch.randn(B, 5, dtype=torch.float64)
    for c in torch.randn(2, C, dtype=torch.float64):
        W0, b0, W2, b2 = net.generate(c).values()
        close(net(x, condition=c), ((x @ W0.T + b0).relu() @ W2.T + b2).relu())


def test_a_copy_lives_as_long_as_something_refers_to_it():
    target = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.LSTM(5, 3)).double()
    copies = []
    target[0].register_forward_hook(lambda module, args, output: copies.append(weakref.ref(module)))
    net = hn.HyperNetwork(target, GENERATORS["full"]())
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    gc.disable()  # no reference cycles: the copies and the generated weights are freed at once
    try:
        net(x, condition=c)
        assert copies[0]() is None
        with net.using(c) as adapted:
            adapted(x)
        assert copies[1]() is adapted[0]
        del adapted
        assert copies[1]() is None
    finally:
        gc.enable()


def test_empty_dictionaries_of_a_copy_are_used_again_when_nothing_refers_to_them():
    net = hn.HyperNetwork(mlp(), GENERATORS["full"]()).eval()
    c = torch.randn(C, dtype=torch.float64)

    def hooks_of(module):
        return {id(part._forward_hooks) for part in module.modules()}

    with net.using(c) as first, net.using(c) as second:
        assert not hooks_of(first) & hooks_of(second)
        used = hooks_of(first) | hooks_of(second)
    with net.using(c) as third:  # the others are still alive
        assert not hooks_of(third) & used
        used |= hooks_of(third)
    del first, second, third
    with net.using(c) as again:
        assert hooks_of(again) <= used
        kept = again[0]._buffers
    del again
    with net.using(c) as other:
        kept["mine"] = c
        assert not other[0]._buffers
        other[0].register_forward_hook(lambda module, args, output: output + 1)
    del other
    with net.using(c) as last:
        assert not last[0]._forward_hooks
