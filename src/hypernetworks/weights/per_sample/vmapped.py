"""Weights per sample that are made: torch.func.vmap runs the target over samples and weights together, each a batch of one.

A mode of torch's functions replaces those that would give other results that way, or none:

    F.batch_norm        statistics are those of all samples together, and running statistics are updated once
    F.instance_norm     running statistics are updated once
    attention           one call for all samples, where torch's rule would call it for each
    lstm, gru, rnn      torch's own have no rule for vmap: the steps of `recurrent` are run one after another
    layer_norm, ...     the result has the dtype of the input, not the wider one of γ and β
    F.rrelu             torch's own has no rule for vmap

Under torch.autocast, each function has the dtypes that it has without vmap (`autocast.py`).

B batch, N rows of each sample, T time, H hidden.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.func import vmap
from torch.overrides import TorchFunctionMode

from hypernetworks.torch_compat import (
    TreeSpec,
    checks_for_overrides,
    is_batched,
    packs_a_sequence,
    saved_tensors_are_hooked,
    tree_flatten,
    tree_unflatten,
    without_overrides,
)
from hypernetworks.weights.call import Call, CopiedCall
from hypernetworks.weights.layout import Layout, NewDimension
from hypernetworks.weights.per_sample.autocast import run_as_autocast
from hypernetworks.weights.per_sample.hooks import change_hooks, converted
from hypernetworks.weights.per_sample.objects import check_closed
from hypernetworks.weights.per_sample.recurrence import RECURRENCES

NO_CHECKPOINTS = "torch.utils.checkpoint and other hooks of saved tensors cannot be used inside of it"
PACKED = "packed input cannot have weights for each sample: pad it"


@torch.library.custom_op("hypernetworks::all_samples", mutates_args=())
def all_samples(x: Tensor, like: Tensor) -> Tensor:
    """x of all samples of the current vmap one after another: (N, ...) for each becomes (B·N, ...), the same for all.

    `like` belongs to the samples even if x does not. Outside vmap it is x itself.
    """
    return x.clone()


@all_samples.register_fake
def _(x: Tensor, like: Tensor) -> Tensor:
    return torch.empty_like(x)


@all_samples.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], x: Tensor, like: Tensor) -> tuple[Tensor, None]:
    dim = in_dims[0]
    rows = x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
    return rows.flatten(0, 1), None


@torch.library.custom_op("hypernetworks::each_sample", mutates_args=())
def each_sample(x: Tensor, like: Tensor) -> Tensor:
    """The inverse of `all_samples`: each sample of the current vmap gets its part of x (B·N, ...)."""
    return x.clone()


@each_sample.register_fake
def _(x: Tensor, like: Tensor) -> Tensor:
    return torch.empty_like(x)


@each_sample.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], x: Tensor, like: Tensor) -> tuple[Tensor, int]:
    return x.unflatten(0, (info.batch_size, -1)), 0


def _no_gradient(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
    return gradient, None


all_samples.register_autograd(_no_gradient)
each_sample.register_autograd(_no_gradient)


def over_all_samples(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """F.batch_norm or F.instance_norm for a sample under vmap, called once for all samples.

    Statistics over samples are those of all samples, and running statistics are updated once. γ and β may differ between
    samples.
    """

    def run(
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        x = all_samples(input, input)
        # γ ⊙ norm(x) + β
        y = each_sample(norm(x, running_mean, running_var, None, None, *args, **kwargs), input)
        return _affine(y, weight, bias)

    return run


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """γ ⊙ y + β, for each channel."""
    column = (1, -1) + (1,) * (y.dim() - 2)
    if weight is not None:
        y = y * weight.view(column).to(y.dtype)
    return y if bias is None else y + bias.view(column).to(y.dtype)


def attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """F.scaled_dot_product_attention for a sample under vmap: one call for all samples. q, k and v are (N, heads, T, d)."""
    if not query.dim() == key.dim() == value.dim() == 4 or not len(query) == len(key) == len(value):
        return F.scaled_dot_product_attention(query, key, value, attn_mask, *args, **kwargs)
    like = query[:1, :1, :1, :1] + key[:1, :1, :1, :1] + value[:1, :1, :1, :1]
    q, k, v = (all_samples(part, like) for part in (query, key, value))
    if attn_mask is not None:
        attn_mask = attn_mask[(None,) * (4 - attn_mask.dim())].expand(len(query), -1, -1, -1)
        attn_mask = all_samples(attn_mask, like)
    return each_sample(F.scaled_dot_product_attention(q, k, v, attn_mask, *args, **kwargs), like)


def rrelu(
    input: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """F.rrelu, for which torch has no rule in training: y = x for x ≥ 0 and a x otherwise, a drawn from [lower, upper]."""
    a = lower + (upper - lower) * torch.rand_like(input) if training else (lower + upper) / 2
    return torch.where(input >= 0, input, a * input)


class PerSample(TorchFunctionMode):
    """Within this mode, functions that vmap would handle wrongly act on all samples together.

    Statistics over samples are those of activations. F.batch_norm of a tensor that was computed from weights only, as in
    convolutions with standardised weights, is left to vmap: each sample has its own weights, so it has its own statistics. To
    know such tensors, the mode marks what each function returns if all tensors that it was given are weights, or marked, or
    constants. Inputs that all samples share are no constants: what is computed from them and weights is an activation.
    """

    def __init__(self, weights: Iterable[Tensor], inputs: Iterable[Any]) -> None:
        super().__init__()
        self.weights: dict[int, Tensor] = {}
        shared = [x for x in inputs if isinstance(x, Tensor) and not is_batched(x)]
        # torch.compile has no rule for id(), or only for some tensors
        self.shared: dict[int, Tensor] = (
            dict(enumerate(shared)) if torch.compiler.is_compiling() else {id(x): x for x in shared}
        )
        self.running: list[Any] = []
        self.traced: list[Tensor] = []
        self.mark(weights)

    def mark(self, tensors: Iterable[Any]) -> None:
        """These tensors do not depend on the inputs."""
        for tensor in tensors:
            if isinstance(tensor, Tensor):
                if torch.compiler.is_compiling():
                    self.traced.append(tensor)
                elif is_batched(tensor):
                    self.weights[id(tensor)] = tensor

    def of_weights(self, x: Tensor) -> bool:
        """Whether a tensor does not depend on the inputs."""
        if torch.compiler.is_compiling():
            return isinstance(x, nn.Parameter) or any(x is weight for weight in self.traced)
        return id(x) in self.weights or not (is_batched(x) or self.is_shared(x))

    def is_shared(self, x: Tensor) -> bool:
        """Whether a tensor is an input that all samples share, or was written from one."""
        if torch.compiler.is_compiling():
            return any(x is other for other in self.shared.values())
        return id(x) in self.shared

    def within(self, function: Callable[..., Any], name: Any = None) -> Callable[..., Any]:
        """A function whose own calls go through this mode, too. Within __torch_function__ it is off."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self.running.append(name)
            try:
                with self:
                    return function(*args, **kwargs)
            finally:
                self.running.pop()

        return run

    def replacement(self, func: Any, of_weights: bool) -> Callable[..., Any]:
        """What is called instead of a function. `of_weights`: it is a norm of what does not depend on the inputs."""
        if func in RECURRENCES:
            return RECURRENCES[func] if torch.compiler.is_compiling() else self.within(RECURRENCES[func])
        if func in REPLACED and not of_weights:
            return REPLACED[func]
        # some call the function that they override, such as Tensor.unflatten
        if torch.compiler.is_compiling() or func in self.running or not checks_for_overrides(func):
            return func
        return self.within(without_overrides(func), func)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, or its replacement."""
        kwargs = kwargs or {}
        if packs_a_sequence(func):
            raise ValueError(PACKED)
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        free = all(self.of_weights(tensor) for tensor in tensors)
        x = (args[0] if args else kwargs["input"]) if func in _NORMS else None
        # what all samples share has no statistics over samples either
        of_weights = x is not None and (self.of_weights(x) or self.is_shared(x))
        result = run_as_autocast(func, args, kwargs, self.replacement(func, of_weights))
        if free:
            self.mark(tree_flatten(result)[0])
        elif not torch.compiler.is_compiling():
            # what an activation was written into is no longer made of weights only
            for written in (*tree_flatten(result)[0], *tensors[: writes(func)]):
                self.weights.pop(id(written), None)
                if isinstance(written, Tensor) and not is_batched(written):
                    self.shared[id(written)] = written
        return result


def writes(func: Any) -> bool:
    """Whether a function writes into its first argument."""
    name = getattr(func, "__name__", "")
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")


def in_dtype_of_input(norm: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """layer_norm or group_norm under vmap with γ and β in another dtype, as under autocast."""

    def run(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return norm(input, *args, **kwargs).to(input.dtype)

    return run


_NORMS = (F.batch_norm, F.instance_norm)

REPLACED: dict[Any, Callable[..., Any]] = {
    F.batch_norm: over_all_samples(F.batch_norm),
    F.instance_norm: over_all_samples(F.instance_norm),
    # compilers see the functions of nn.functional only, and not what these call
    **{norm: in_dtype_of_input(norm) for norm in (F.layer_norm, F.group_norm, torch.layer_norm, torch.group_norm)},
    F.rrelu: rrelu,
    F.scaled_dot_product_attention: attention,
}
"""The functions that vmap would handle wrongly, slowly or not at all, and what is called instead."""


def run_vmapped(
    call: Call,
    weights: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    leaves: Sequence[Any],
    form: TreeSpec,
    places: Sequence[Layout | None],
    returned: Callable[[int], Layout | NewDimension],
) -> Any:
    """Run the target on the arguments with weights (B, ...), each sample as a batch of one or of `each` rows.

    Args:
        call: a call of the target with given tensors.
        weights: the tensors of each sample, by name.
        shared: tensors that are the same for all samples, by name.
        leaves, form: the arguments as `tree_flatten` gives them.
        places: where the samples are in each leaf; None for what is shared, and for no tensors.
        returned: where they go in the k-th returned tensor.
    """
    own_dims = dict.fromkeys(weights, 0)
    dims = [None if place is None else place.place for place in places]
    given = [leaf if place is None else place.apart(leaf) for leaf, place in zip(leaves, places, strict=True)]
    made: list[Any] = []

    def one(own: dict[str, Tensor], *parts: Any) -> tuple[Any, ...]:
        parts = tuple(
            part.unsqueeze(place.dim) if place is not None and place.each == 1 else part
            for part, place in zip(parts, places, strict=True)
        )
        own_args, own_kwargs = tree_unflatten(parts, form)
        with PerSample([*own.values(), *shared.values()], parts):
            if isinstance(call, CopiedCall):
                module = call.adapted(own | dict(shared))
                like = next(iter(own.values()))
                change_hooks(module, lambda hook: converted(hook, _real, lambda x: each_sample(x, like)))
                result = module(*own_args, **own_kwargs)
                _check_buffers(module)
            else:
                result = call(own | dict(shared), own_args, own_kwargs)
        found, result_form = tree_flatten(result)
        tensors = [part for part in found if isinstance(part, Tensor)]
        for verb, some in (("returns", found), ("changes", parts)):
            for part in some:
                if not isinstance(part, Tensor):
                    check_closed(part, verb)
        made[:] = [result_form, *(None if isinstance(part, Tensor) else (part,) for part in found)]
        return tuple(returned(k).alone(part) for k, part in enumerate(tensors))

    # torch.utils.checkpoint would recompute outside vmap with what belongs to it
    free = torch.compiler.is_compiling() or saved_tensors_are_hooked()
    with nullcontext() if free else disable_saved_tensors_hooks(NO_CHECKPOINTS):
        outputs = vmap(one, in_dims=(own_dims, *dims), randomness="different")(dict(weights), *given)
    tensors = iter([returned(k).gathered(part) for k, part in enumerate(outputs)])
    result_form, *others = made
    return tree_unflatten([next(tensors) if other is None else other[0] for other in others], result_form)


def _real(x: Tensor) -> Tensor:
    """x of all samples."""
    return all_samples(x, x) if is_batched(x) and x.dim() else x


def _check_buffers(module: nn.Module) -> None:
    """Check that the target assigned no buffer that differs between samples: it would be of no use outside vmap.

    Raises:
        ValueError: it did.
    """
    for name, buffer in module.named_buffers():
        if is_batched(buffer):
            raise ValueError(f"the buffer {name} would differ between the samples, but the target has one for all")
