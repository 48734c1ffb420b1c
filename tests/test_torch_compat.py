"""What torch_compat says of torch, in each situation that it reports on; and that no other module needs private names."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import hypernetworks
from hypernetworks import torch_compat

SITUATIONS = {
    "is_compiling": torch.compiler.is_compiling,
    "is_exporting": torch_compat.is_exporting,
    "is_jit_tracing": torch_compat.is_jit_tracing,
    "in_function_transform": torch_compat.in_function_transform,
    "in_forward_ad": torch_compat.in_forward_ad,
    "in_dispatch_mode": torch_compat.in_dispatch_mode,
}


class Probe:
    """A function of a tensor that notes which situations hold while it runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.seen |= {name for name, holds in SITUATIONS.items() if holds()}
        return (x * 2).sum()


class PlainMode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class FunctionMode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def within(mode, probe, x):
    with mode:
        probe(x)


def dual(probe, x):
    with forward_ad.dual_level():
        probe(forward_ad.make_dual(x, torch.ones_like(x)))


def with_gradients(probe, x):
    probe(x.clone().requires_grad_()).backward()


RUNS = {
    "plain": (lambda probe, x: probe(x), set()),
    "no_grad": (lambda probe, x: within(torch.no_grad(), probe, x), set()),
    "inference_mode": (lambda probe, x: within(torch.inference_mode(), probe, x), set()),
    "autograd": (with_gradients, set()),
    "function mode": (lambda probe, x: within(FunctionMode(), probe, x), set()),
    "dispatch mode": (lambda probe, x: within(PlainMode(), probe, x), {"in_dispatch_mode"}),
    "fake tensors": (
        lambda probe, x: within(mode := FakeTensorMode(), probe, mode.from_tensor(x)),
        {"in_dispatch_mode"},
    ),
    "make_fx": (lambda probe, x: make_fx(probe)(x), {"in_dispatch_mode"}),
    "vmap": (lambda probe, x: torch.func.vmap(probe)(x), {"in_function_transform"}),
    "grad": (lambda probe, x: torch.func.grad(probe)(x), {"in_function_transform"}),
    "functionalize": (lambda probe, x: torch.func.functionalize(probe)(x), {"in_function_transform"}),
    "jvp": (lambda probe, x: torch.func.jvp(probe, (x,), (x,)), {"in_function_transform", "in_forward_ad"}),
    "dual_level": (dual, {"in_forward_ad"}),
}


@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script`:DeprecationWarning"
)  # torch's own, the first time that forward AD is used
@pytest.mark.parametrize("run", RUNS)
def test_each_situation_is_recognised(run):
    program, expected = RUNS[run]
    probe = Probe()
    program(probe, torch.ones(2, 3))
    assert probe.seen == expected
    assert not any(holds() for holds in SITUATIONS.values())  # nothing is left behind


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_torch_jit_trace_is_recognised():
    probe = Probe()
    torch.jit.trace(lambda x: probe(x), (torch.ones(2, 3),), check_trace=False)
    assert probe.seen == {"is_jit_tracing"}


class Exported(nn.Module):
    def forward(self, x):
        return x + (1 if torch_compat.is_exporting() else 2)


def test_export_is_recognised_and_compile_is_not_export():
    x = torch.zeros(2)
    for strict in (False, True):
        program = torch.export.export(Exported(), (x,), strict=strict)
        assert program.module()(x).tolist() == [1, 1]
    assert torch.compile(Exported(), backend="eager", fullgraph=True)(x).tolist() == [2, 2]
    assert not torch_compat.is_exporting()


def test_compile_takes_a_marked_function_for_a_constant():
    torch.compiler.reset()
    calls = []

    @torch_compat.constant_in_graphs
    def chosen():
        return len([*map(calls.append, "x")]) + len(calls)

    run = torch.compile(lambda x: x * chosen(), backend="eager", fullgraph=True)
    first = run(torch.ones(2)).tolist()
    assert run(torch.ones(2)).tolist() == first
    made = len(calls)
    chosen()
    assert len(calls) == made + 1  # without a compiler it is an ordinary function
    assert run(torch.ones(2)).tolist() == first


def test_graph_limit_allows_as_many_graphs_and_no_more():
    def graphs_made(limit):
        torch.compiler.reset()
        made = []
        backend = lambda graph, _: made.append(graph) or graph.forward  # noqa: E731
        run = torch.compile(lambda x, n: x + n, backend=backend, dynamic=False)
        with torch_compat.graph_limit(limit, 100):
            for n in range(limit + 3):
                assert run(torch.ones(2), n).tolist() == [1 + n, 1 + n]  # beyond the limit it runs without a graph
        return len(made)

    settings = torch._dynamo.config
    before = settings.recompile_limit, settings.accumulated_recompile_limit
    assert (graphs_made(2), graphs_made(12)) == (2, 12)
    assert (settings.recompile_limit, settings.accumulated_recompile_limit) == before


class Subclass(torch.Tensor):
    pass


def test_ordinary_tensors():
    x = torch.ones(2, 3)
    assert torch_compat.is_ordinary(x)
    assert torch_compat.is_ordinary(nn.Parameter(x))
    assert torch_compat.is_ordinary(torch.ones(2, device="meta"))
    with FakeTensorMode() as mode:
        assert torch_compat.is_ordinary(mode.from_tensor(x))
    assert not torch_compat.is_ordinary(x.as_subclass(Subclass))
    assert not torch_compat.is_ordinary(nn.UninitializedParameter())


def test_tensors_that_do_not_store_their_values():
    x = torch.ones(2, 3)
    assert torch_compat.stores_its_values(x)
    assert torch_compat.stores_its_values(-x)
    assert torch_compat.stores_its_values(x.t())
    assert not torch_compat.stores_its_values(torch._neg_view(x))
    assert not torch_compat.stores_its_values(torch.complex(x, x).conj().imag)
    assert not torch_compat.stores_its_values(torch._efficientzerotensor((2, 3)))


def test_packing_is_seen_by_a_function_mode():
    class Seen(TorchFunctionMode):
        def __init__(self):
            super().__init__()
            self.packs = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.packs += torch_compat.packs_a_sequence(func)
            return func(*args, **(kwargs or {}))

    with Seen() as seen:
        packed = nn.utils.rnn.pack_padded_sequence(torch.ones(3, 2, 1), torch.tensor([3, 2]))
        assert seen.packs == 1
        nn.utils.rnn.pad_packed_sequence(packed)
        torch.ones(2).sum()
        assert seen.packs == 1


def test_tensors_of_a_running_vmap():
    x, seen = torch.ones(2, 3), []

    def probe(a, b):
        seen.append((torch_compat.is_batched(a), torch_compat.is_batched(b), torch_compat.is_batched(a + b)))
        return a + b

    torch.func.vmap(probe, in_dims=(0, None))(x, x[0])
    assert seen == [(True, False, True)]
    assert not torch_compat.is_batched(x)


def test_hooks_of_saved_tensors():
    assert not torch_compat.saved_tensors_are_hooked()
    with torch.autograd.graph.save_on_cpu():
        assert torch_compat.saved_tensors_are_hooked()
    assert not torch_compat.saved_tensors_are_hooked()


class Named(torch.Tensor):
    """Returns the names of the functions that it is given to."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func.__name__

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("it has no values")


def test_tensors_without_values():
    like = torch.ones(1, dtype=torch.float64)
    tensor = torch_compat.tensor_without_values(Named, torch.Size((3, 4)), like)
    with torch_compat.without_subclasses():
        assert tensor.shape == (3, 4)
        assert (tensor.dtype, tensor.device) == (like.dtype, like.device)
    assert tensor.sum() == "sum"


def test_a_function_without_overrides_of_itself():
    tensor = torch_compat.tensor_without_values(Named, torch.Size((3, 4)), torch.ones(1))
    assert nn.functional.dropout(tensor) == "dropout"
    plain = torch_compat.without_overrides(nn.functional.dropout)
    assert plain(tensor, p=0.5) == "dropout"  # torch's own function behind it
    x = torch.randn(2, 3)
    assert torch.equal(plain(x, training=False), x)
    attend, d = torch_compat.without_overrides(nn.functional.multi_head_attention_forward), 4
    q, weight, bias = torch.randn(3, 2, d), torch.randn(3 * d, d), torch.randn(3 * d)
    args = (q, q, q, d, 2, weight, bias, None, None, False, 0.0, torch.eye(d), None)
    torch.testing.assert_close(attend(*args), nn.functional.multi_head_attention_forward(*args))


def test_functions_that_look_for_overrides_of_themselves():
    looks = torch_compat.checks_for_overrides
    assert looks(nn.functional.softmax)
    assert looks(nn.functional.multi_head_attention_forward)
    assert looks(torch.Tensor.__rpow__)
    assert not looks(nn.functional.linear)
    assert not looks(torch.sym_int)  # another name for the same check, which would not be turned off
    x = torch.randn(3)
    power = torch_compat.without_overrides(torch.Tensor.__rpow__)  # a closure
    assert torch.equal(power(x, 2), 2**x)


def test_functions_that_autocast_has_a_rule_for():
    rules = torch_compat.autocast_rules("cpu")
    x = torch.randn(2, 2)
    for function, args in [
        (torch.matmul, (x, x)),
        (torch.Tensor.__matmul__, (x, x)),
        (torch.nn.functional.linear, (x, x)),
    ]:
        assert function in rules
        with torch.autocast("cpu", torch.bfloat16):
            assert function(*args).dtype == torch.bfloat16
    assert rules[torch.Tensor.__matmul__] == "matmul"
    assert torch.exp not in rules
    assert torch_compat.autocast_rules("cuda")[torch.exp] == "exp"


def test_attributes_of_modules():
    module = nn.Linear(2, 2)
    assert {"_parameters", "_buffers", "_modules", "training"} < torch_compat.MODULE_ATTRIBUTES
    assert set(vars(module)) - torch_compat.MODULE_ATTRIBUTES == {"in_features", "out_features"}
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append("forward pre"))
    module.register_forward_hook(lambda *_: calls.append("forward"))
    module.register_full_backward_pre_hook(lambda *_: calls.append("backward pre"))
    module.register_full_backward_hook(lambda *_: calls.append("backward"))
    for name in torch_compat.HOOKS:
        (hook,) = getattr(module, name).values()
        hook()
    assert calls == ["forward pre", "forward", "backward pre", "backward"]
    module.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    number = module.register_forward_hook(lambda *_: None, with_kwargs=True, always_call=True).id
    before, *after = (getattr(module, name) for name in torch_compat.HOOK_OPTIONS)
    assert after == [{number: True}] * 2
    assert [*before.values()] == [True]


def test_tensors_of_a_module_are_replaced_for_a_time():
    module = nn.BatchNorm1d(2)
    weight, mean = module.weight, module.running_mean
    given = {"weight": torch.zeros(2), "running_mean": torch.ones(2)}
    with torch_compat.replaced_tensors(module, given):
        assert module.weight is given["weight"]
        assert module.running_mean is given["running_mean"]
    assert module.weight is weight
    assert module.running_mean is mean


def test_cached_parametrisations_are_recognised():
    assert not torch_compat.caches_parametrizations()
    with nn.utils.parametrize.cached():
        assert torch_compat.caches_parametrizations()
    assert not torch_compat.caches_parametrizations()


def test_compiled_modules_are_recognised():
    module = nn.Linear(2, 2)
    assert not torch_compat.is_compiled(module)
    assert torch_compat.COMPILED_CALL not in vars(module)
    compiled = torch.compile(module, backend="eager")
    assert torch_compat.is_compiled(compiled)
    assert list(compiled.children()) == [module]
    module.compile(backend="eager")
    assert callable(vars(module)[torch_compat.COMPILED_CALL])


def test_writing_to_a_clone_is_noticed():
    x = torch.ones(3)
    clone = x.clone()
    assert not torch_compat.was_written(clone)
    clone.sum()
    assert not torch_compat.was_written(clone)
    clone[0] = 2
    assert torch_compat.was_written(clone)
    with torch.inference_mode():
        clone = x.clone()
        clone.add_(1)
        assert not torch_compat.was_written(clone)  # not known


def test_a_reentrant_checkpoint_is_recognised_in_its_backward_pass():
    seen = []

    class Notes(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(("forward", torch_compat.in_reentrant_checkpoint()))
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            seen.append(("backward", torch_compat.in_reentrant_checkpoint()))
            return gradient

    for reentrant in (None, False, True):
        x = torch.ones(2, requires_grad=True)
        y = Notes.apply(x) if reentrant is None else checkpoint(Notes.apply, x, use_reentrant=reentrant)
        y.sum().backward()
    plain = [("forward", False), ("backward", False)]
    assert seen == [*plain, *plain, ("forward", False), ("forward", True), ("backward", True)]
    assert not torch_compat.in_reentrant_checkpoint()


def test_segments_of_reentrant_checkpoints_are_counted_while_they_are_kept():
    x = torch.ones(2, requires_grad=True)
    none = torch_compat.reentrant_segments()
    first = checkpoint(torch.sin, x, use_reentrant=True)
    assert torch_compat.reentrant_segments() == none + 1
    second = checkpoint(torch.sin, first, use_reentrant=True)
    assert torch_compat.reentrant_segments() == none + 2
    second.sum().backward()
    del first, second
    assert torch_compat.reentrant_segments() == none
    kept = [x.sin(), checkpoint(torch.sin, x, use_reentrant=False)]
    with torch.no_grad():
        kept.append(checkpoint(torch.sin, x, use_reentrant=True))
    assert torch_compat.reentrant_segments() == none


def test_custom_functions_are_recognised_in_their_forward_pass():
    class Noting(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            plain(x)
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class NotingUnderVmap(Noting):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            plain(x)
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

    def plain(x):
        seen.append(torch_compat.in_custom_function())
        return x * 2

    seen, x = [], torch.randn(2, requires_grad=True)
    plain(x)
    with torch.no_grad():
        plain(x)
    with forward_ad.dual_level():
        plain(x)
    with torch.inference_mode():  # in which it is not looked for
        plain(x)
        Noting.apply(x)
    checkpoint(plain, x, use_reentrant=True)
    assert seen == [False] * 6
    seen.clear()
    Noting.apply(x)
    with torch.no_grad():
        Noting.apply(x)
    checkpoint(Noting.apply, x, use_reentrant=True)
    NotingUnderVmap.apply(x)
    torch.vmap(NotingUnderVmap.apply)(x)
    torch.func.grad(lambda x: NotingUnderVmap.apply(x).sum())(x)
    assert seen == [True] * 6


def test_trees_are_taken_apart_and_put_together():
    tree = ((1, [2, {"a": 3, "b": (4,)}]), {"c": None})
    leaves, form = torch_compat.tree_flatten(tree)
    assert [leaf for leaf in leaves if leaf is not None] == [1, 2, 3, 4]
    assert torch_compat.tree_unflatten(leaves, form) == tree
    doubled = torch_compat.tree_unflatten([leaf and 2 * leaf for leaf in leaves], form)
    assert doubled == ((2, [4, {"a": 6, "b": (8,)}]), {"c": None})


def test_a_scan_is_a_loop_in_an_exported_program():
    class Sums(nn.Module):
        def forward(self, x, scale):
            def step(total, row, factor):
                total = total + factor * row
                return [total, total.clone()]

            return torch_compat.scan(step, [torch.zeros(2)], [x], [scale])

    shapes = ({0: torch.export.Dim("time", min=1, max=99)}, None)
    program = torch.export.export(Sums(), (torch.randn(5, 2), torch.tensor(3.0)), dynamic_shapes=shapes)
    assert [str(node.target) for node in program.graph.nodes].count("scan") == 1
    for time in (1, 5, 17):
        x = torch.randn(time, 2)
        last, sums = program.module()(x, torch.tensor(2.0))
        torch.testing.assert_close(sums, 2 * x.cumsum(0))
        torch.testing.assert_close(last, sums[-1])


class NamedPair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def test_named_tuples_are_saved_in_programs():
    class Pair(nn.Module):
        def forward(self, x):
            return NamedPair(x + 1, 2 * x)

    program = torch.export.export(Pair(), (torch.zeros(3),))
    with pytest.raises(NotImplementedError, match="serialize TreeSpec of namedtuple"):
        torch.export.save(program, io.BytesIO())
    torch_compat.name_in_programs(NamedPair)
    program = torch.export.export(Pair(), (torch.zeros(3),))
    torch.export.save(program, file := io.BytesIO())
    again = torch.export.load(io.BytesIO(file.getvalue())).module()(torch.ones(3))
    assert type(again) is NamedPair
    assert torch.equal(again.b, torch.full((3,), 2.0))


def test_a_flop_counter_learns_formulas_while_it_counts():
    operator = torch.ops.aten.sigmoid

    def formula(shape, *, out_shape):
        assert shape == out_shape == (3, 4)
        return 7

    torch_compat.count_flops({operator: formula})  # nothing counts
    with FlopCounterMode(display=False) as outer, FlopCounterMode(display=False) as inner:
        torch_compat.count_flops({operator: formula})
        torch.zeros(3, 4).sigmoid()
    assert outer.get_total_flops() == inner.get_total_flops() == 7
    with FlopCounterMode(display=False) as counter:
        torch.zeros(3, 4).sigmoid()
    assert counter.get_total_flops() == 0


def test_importing_the_package_leaves_the_compiler_alone():
    program = "import json, sys, hypernetworks; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert not [
        name
        for name in json.loads(done.stdout)
        if name.startswith(("torch._dynamo", "torch._inductor", "torch.utils.flop_counter"))
    ]


def private_names(source):
    """Names of torch with a leading underscore that a module imports or reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            name = ".".join([node.module or "", *(alias.name for alias in node.names)])
        elif isinstance(node, ast.Import):
            name = ".".join(alias.name for alias in node.names)
        else:
            continue
        parts = name.split(".")
        if parts[0] == "torch" and any(part.startswith("_") and not part.startswith("__") for part in parts):
            yield name


def test_no_other_module_uses_private_names_of_torch():
    assert [*private_names("import torch._dynamo\nfrom torch._C import x\ntorch.utils._pytree.y")] != []
    assert [*private_names("import torch\ntorch.__version__\nself._x\nfrom torch.func import vmap")] == []
    package = Path(hypernetworks.__file__).parent
    found = {
        path.relative_to(package).as_posix(): [*private_names(path.read_text(encoding="utf-8"))]
        for path in package.rglob("*.py")
    }
    assert found.pop("torch_compat.py")
    assert {path: names for path, names in found.items() if names} == {}
