"""Everything here that torch keeps private, or that differs from one version of torch to the next, one function each.

No other module uses a private name of torch. To support another version of torch, run `tests/test_torch_compat.py` on it: each
function is tested there in each situation that it reports on.

Importing this module does not import `torch._dynamo`, which takes seconds.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from types import FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad
from torch.nn.utils.stateless import _reparametrize_module
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils._pytree import TreeSpec, _register_namedtuple
from torch.utils._pytree import tree_flatten as _tree_flatten
from torch.utils._pytree import tree_unflatten as _tree_unflatten
from torch.utils.checkpoint import CheckpointFunction

Function = TypeVar("Function", bound=Callable[..., Any])
Subclass = TypeVar("Subclass", bound=Tensor)

_ORDINARY = (Tensor, nn.Parameter, FakeTensor)
_LOOKS = frozenset({"has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"})
_PACK_PADDED_SEQUENCE = torch._VF._pack_padded_sequence  # pyright: ignore[reportAttributeAccessIssue]


def constant_in_graphs(function: Function) -> Function:
    """Mark a function whose result torch.compile may take for a constant, as torch.compiler.assume_constant_result does.

    torch's own decorator imports torch._dynamo.
    """
    function._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]
    return function


def graph_limit(graphs: int, all_graphs: int) -> AbstractContextManager[Any]:
    """Within it, torch.compile makes up to `graphs` graphs of one piece of code, and up to `all_graphs` with all callers."""
    import torch._dynamo.config

    return torch._dynamo.config.patch(recompile_limit=graphs, accumulated_recompile_limit=all_graphs)


def is_exporting() -> bool:
    """Whether torch.export traces what runs.

    In torch 2.11, torch.compiler.is_exporting is also true in code that torch.compile traces; the flag behind it is not.
    """
    return torch.compiler._is_exporting_flag


def scan(
    step: Callable[..., list[Tensor]], initial: list[Tensor], inputs: list[Tensor], constants: list[Tensor]
) -> list[Tensor]:
    """torch's operator for a loop over the first dimension of inputs; it may be called where torch.export traces.

    step(*state, *inputs at t, *constants) returns the new state, and then what is stacked over all t. The result is the last
    state, and then what is stacked. No two of the tensors that it is given or that `step` returns may share memory.
    """
    from torch._higher_order_ops.scan import scan_op

    return list(scan_op(step, initial, inputs, tuple(constants)))


def is_jit_tracing() -> bool:
    """Whether torch.jit.trace records what runs."""
    return torch._C._is_tracing()


@constant_in_graphs
def in_function_transform() -> bool:
    """Whether a transform of torch.func (vmap, grad, jvp, functionalize, ...) is active.

    torch.compile enters the transforms that it traces, so at that time the answer is right for the graph, too.
    """
    return torch._C._functorch.maybe_current_level() is not None  # pyright: ignore[reportAttributeAccessIssue]


def is_batched(tensor: Tensor) -> bool:
    """Whether a tensor belongs to a vmap that is running: it stands for one value for each sample."""
    return torch._C._functorch.is_batchedtensor(tensor)  # pyright: ignore[reportAttributeAccessIssue]


def saved_tensors_are_hooked() -> bool:
    """Whether hooks are active that autograd calls for each tensor that it saves, as in torch.utils.checkpoint."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None  # pyright: ignore


def in_forward_ad() -> bool:
    """Whether a level of forward-mode derivatives is open, by torch.autograd.forward_ad or torch.func.jvp."""
    return forward_ad._current_level >= 0


def in_dispatch_mode() -> bool:
    """Whether a TorchDispatchMode is active: FakeTensorMode, make_fx, torch.export, a profiler of operators, ..."""
    return torch._C._len_torch_dispatch_stack() > 0  # pyright: ignore[reportAttributeAccessIssue]


def count_flops(formulas: dict[Any, Callable[..., int]]) -> None:
    """Tell the active counters of torch.utils.flop_counter the operations of these operators.

    Each formula gets the operator's arguments, a shape for each tensor. Nothing is registered in advance, because importing
    torch.utils.flop_counter imports triton, which takes half a second.
    """
    counting = sys.modules.get("torch.utils.flop_counter")
    if counting is None:
        return
    modes: list[Any] = _get_current_dispatch_mode_stack()
    for mode in modes:
        if isinstance(mode, counting._FlopCounterMode):
            mode.counter.flop_registry.update({name: counting.shape_wrapper(run) for name, run in formulas.items()})


def is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor is of no subclass but Parameter and the fake tensors that compilers trace with."""
    return type(tensor) in _ORDINARY


def stores_its_values(tensor: Tensor) -> bool:
    """Whether a tensor's memory holds its values. A lazily negated view and an efficient zero tensor do not."""
    return not (tensor.is_neg() or tensor._is_zerotensor())


def packs_a_sequence(function: Any) -> bool:
    """Whether a function that a TorchFunctionMode sees is the one behind torch.nn.utils.rnn.pack_padded_sequence."""
    return function is _PACK_PADDED_SEQUENCE


def name_in_programs(kind: type[Any]) -> None:
    """Let torch.export.save write programs that take or return this named tuple, as hypernetworks.NAME."""
    _register_namedtuple(kind, serialized_type_name=f"hypernetworks.{kind.__name__}")


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """The leaves of nested tuples, lists and dicts, and the form that `tree_unflatten` needs."""
    return _tree_flatten(tree)


def tree_unflatten(leaves: Iterable[Any], form: TreeSpec) -> Any:
    """The tree of this form with these leaves."""
    return _tree_unflatten(leaves, form)


def tensor_without_values(kind: type[Subclass], shape: torch.Size, like: Tensor) -> Subclass:
    """A tensor of a subclass that has a shape, and the dtype and device of `like`, but no memory."""
    return Tensor._make_wrapper_subclass(kind, shape, dtype=like.dtype, device=like.device)  # pyright: ignore


def without_subclasses() -> AbstractContextManager[Any]:
    """Within it, functions of torch take a tensor of a subclass for an ordinary one: its __torch_function__ is not called."""
    return torch._C.DisableTorchFunctionSubclass()


def without_overrides(function: Function) -> Function:
    """A function of torch.nn.functional that does not look for overrides of itself. What it calls still does.

    A __torch_function__ that gets such a function cannot call it again with the same arguments, since it would get it again.
    """
    never = dict.fromkeys(_LOOKS, lambda *_: False)
    copied = FunctionType(
        function.__code__,
        function.__globals__ | never,  # pyright: ignore[reportFunctionMemberAccess]
        function.__name__,
        function.__defaults__,  # pyright: ignore[reportFunctionMemberAccess]
        function.__closure__,  # pyright: ignore[reportFunctionMemberAccess]
    )
    copied.__kwdefaults__ = function.__kwdefaults__  # pyright: ignore[reportFunctionMemberAccess]
    return copied  # pyright: ignore[reportReturnType]


@lru_cache
def checks_for_overrides(function: Any) -> bool:
    """Whether a function is written in Python and looks for overrides of itself, so that `without_overrides` changes it."""
    return isinstance(function, FunctionType) and any(
        name in function.__globals__ for name in _LOOKS.intersection(function.__code__.co_names)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no memory: Python's, that of an accelerator, or torch's on the CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def autocast_rules(device: str) -> dict[Any, str]:
    """The functions for which torch.autocast has a rule on this kind of device, each with the name of its operator."""
    key = f"Autocast{torch._C._dispatch_key_for_device(device)}"  # pyright: ignore[reportAttributeAccessIssue]
    registered = torch._C._dispatch_get_registrations_for_dispatch_key(key)  # pyright: ignore[reportAttributeAccessIssue]
    names = {name.removeprefix("aten::").partition(".")[0] for name in registered}
    owners = (
        torch,
        Tensor,
        nn.functional,
        torch._VF,
        *(getattr(torch._C, part) for part in ("_nn", "_linalg", "_fft")),
    )
    rules = {getattr(owner, name): name for owner in owners for name in names if hasattr(owner, name)}
    special = {"matmul": ("__matmul__", "__rmatmul__"), "pow": ("__pow__", "__rpow__")}
    return rules | {
        getattr(Tensor, method): name for name, methods in special.items() if name in names for method in methods
    }


def replaced_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> AbstractContextManager[Any]:
    """Within it, a module has these parameters and buffers, by their names, as within torch.func.functional_call."""
    return _reparametrize_module(module, tensors, tie_weights=False)


def caches_parametrizations() -> bool:
    """Whether a block of torch.nn.utils.parametrize.cached() runs, which keeps tensors by the id of their module."""
    return torch.nn.utils.parametrize._cache_enabled > 0


def is_compiled(module: nn.Module) -> bool:
    """Whether a module is what torch.compile made of another, its only child."""
    kind = type(module)
    return kind.__name__ == "OptimizedModule" and kind.__module__ == "torch._dynamo.eval_frame"


def was_written(clone: Tensor) -> bool:
    """Whether a tensor that clone() made was changed in place since. Unknown, and False, for those made in inference mode."""
    return version(clone) > 0


def version(tensor: Tensor) -> int:
    """How often a tensor was changed in place. Unknown, and 0, for those made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


MODULE_ATTRIBUTES = frozenset(nn.Module().__dict__)
"""The attributes that nn.Module's own constructor sets."""

HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
"""The attributes of a module that hold the functions run with it."""

HOOK_OPTIONS = ("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
"""The attributes of a module that hold how these functions are called, by their number, which torch uses once."""

COMPILED_CALL = "_compiled_call_impl"
"""The attribute of a module that holds what its method compile() made."""


def in_reentrant_checkpoint() -> bool:
    """Whether torch.utils.checkpoint(use_reentrant=True) recomputes what runs, or runs its own backward pass."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code is CheckpointFunction.backward.__code__:
            return True
        frame = frame.f_back
    return False


def reentrant_segments() -> int:
    """A number that rises with each segment that torch.utils.checkpoint(use_reentrant=True) keeps for a backward pass.

    Each is a node of the graph, an instance of this class, which counts the references of its instances. To ask for it takes a
    tenth of a microsecond. What else refers to the class makes the number larger.
    """
    return sys.getrefcount(CheckpointFunction._backward_cls)  # pyright: ignore[reportAttributeAccessIssue]


def in_custom_function() -> bool:
    """Whether the forward pass of a torch.autograd.Function runs, other than that of torch.utils.checkpoint.

    In inference mode, which has no gradients, it is not looked for, and the answer is no.
    """
    # apply disables forward-mode derivatives, which no_grad does not
    if torch._C._is_fwd_grad_enabled() or torch.is_inference_mode_enabled():  # pyright: ignore
        return False
    frame, running = sys._getframe().f_back, set()
    while frame is not None:
        running.add(frame.f_code)
        frame = frame.f_back
    kinds: list[Any] = [torch.autograd.Function]
    for kind in kinds:  # apply itself has no frame since torch 2.14
        kinds += kind.__subclasses__()
        if kind is not CheckpointFunction and getattr(kind.forward, "__code__", None) in running:
            return True
    return False
