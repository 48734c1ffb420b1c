"""A call leaves the target as it was, and is not affected by what else runs: duplicates, threads, other calls."""

import copy
import gc
import threading
import weakref

import pytest
import torch
from torch import nn
from torch.func import functional_call

import hypernetworks as hn

from .targets import GENERATORS, C, ResidualBlock, close, mlp, shake
from .unchanged import assert_unchanged, state_of

B = 4


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


def test_cached_parametrisations_are_refused():
    target = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 5, dtype=torch.float64)), nn.ReLU())
    net = hn.HyperNetwork(target, hn.FullGenerator(C))
    x, c = torch.randn(B, 5, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    with nn.utils.parametrize.cached(), pytest.raises(ValueError, match=r"parametrize\.cached\(\) would mix up"):
        net(x, condition=c)
    with nn.utils.parametrize.cached():
        hn.HyperNetwork(mlp(), hn.FullGenerator(C))(x, condition=c)


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


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("samples", [None, B])
def test_a_hypernetwork_within_a_target_all_of_which_is_generated(samples, before):
    """What the inner one knows of its own target is not of the copies of it, in one call after another."""

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = hn.HyperNetwork(nn.Linear(5, 5, dtype=torch.float64), hn.FullGenerator(2))
            self.code = nn.Parameter(torch.randn(2))

        def forward(self, x):
            return self.inner(x, condition=self.code)

    outer = Outer().double()
    x = torch.randn(B, 5, dtype=torch.float64)
    plain = outer(x) if before else None
    net = hn.HyperNetwork(outer, hn.LowRankGenerator(C, rank=1))
    shake(net.generator)
    c = torch.randn(*(() if samples is None else (samples,)), C, dtype=torch.float64)
    for _ in range(3):
        y = net(x, condition=c)
        one = c if samples is None else c[1]
        close(y[1:2], net.materialize(one)(x[1:2]))
    if plain is not None:
        close(outer(x), plain)


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
