"""In which dimension of the arguments and results the samples are: as stated, or as the target's own documentation says.

any module                                    0
torch.nn.LSTM, GRU, RNN, and those here       1, or 0 with batch_first; 1 in states
torch.nn.MultiheadAttention, Transformer,     1, or 0 with batch_first; 0 in masks of padding and in attention weights;
and its layers                                masks (T, S) of attention are shared
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

from torch import Tensor, nn

from hypernetworks.recurrent.layer import RecurrentNetwork
from hypernetworks.torch_compat import tree_flatten
from hypernetworks.weights.layout import Layout, NewDimension
from hypernetworks.weights.per_sample.objects import tensors_inside

Dims = int | None | Sequence[Any] | Mapping[Any, Any]
"""As in torch.func.vmap: one dimension for all tensors, None for what all samples share, or nested as the arguments are."""

_ATTENTIVE = (
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoder,
    nn.TransformerDecoder,
    nn.Transformer,
)


def input_places(
    target: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], in_dims: Dims, samples: int, each: int
) -> list[Layout | None]:
    """Where the samples are in each leaf of (args, kwargs); None for what is shared, and for no tensors.

    Raises:
        ValueError: a tensor has not the samples where it should, no tensor has samples although none is stated to be shared,
            or `in_dims` does not fit.
    """
    stated = _stated(target, args, kwargs, in_dims)
    places = [_place(leaf, dim, samples, each, name) for name, leaf, dim in stated]
    if not any(places) and in_dims == 0:
        raise ValueError(
            "a condition for each sample needs an input tensor with as many samples, got none: "
            "in_dims=None says that all samples share the inputs"
        )
    return places


def check_objects(
    target: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], in_dims: Dims, samples: int, each: int
) -> None:
    """Check that no argument is an object, such as a cache, that holds tensors of all samples: vmap cannot take it apart.

    Raises:
        ValueError: one holds a tensor with a dimension of this size, and is not stated to be shared.
    """
    for name, leaf, dim in _stated(target, args, kwargs, in_dims):
        if dim is None or isinstance(leaf, Tensor):
            continue
        if any(samples * each in tensor.shape for tensor in tensors_inside(leaf)):
            raise ValueError(
                f"argument {name!r} is a {type(leaf).__name__} that holds tensors with a dimension of {samples * each}, and "
                "here each sample runs alone, without its part of them: give it no such object (use_cache=False in "
                "transformers), say that all samples share it (in_dims), or run each sample with "
                "`with net.using(c[n]) as adapted`"
            )


def output_places(
    target: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], out_dims: Dims, samples: int, each: int
) -> Callable[[int], Layout]:
    """Where the samples are in the k-th returned tensor."""
    _, own = _own_dims(target, args, kwargs)

    def place(k: int) -> Layout:
        if out_dims is None or isinstance(out_dims, Mapping):
            raise ValueError(f"out_dims should be a dimension, or one for each returned tensor, got {out_dims!r}")
        if isinstance(out_dims, int):
            dim = own(k) if out_dims == 0 else out_dims
        elif k < len(out_dims):
            dim = out_dims[k]
        else:
            raise ValueError(f"out_dims has {len(out_dims)} entries, but more tensors are returned")
        return Layout(samples, dim, each)

    return place


def new_places(out_dims: Dims, each: int) -> Callable[[int], NewDimension]:
    """Where the new dimension of the samples is in the k-th returned tensor, for inputs that all samples share."""
    if each != 1:
        raise ValueError(f"samples_per_condition is {each}, but all samples share all inputs: give each its own rows")

    def place(k: int) -> NewDimension:
        dim = out_dims[k] if isinstance(out_dims, Sequence) and k < len(out_dims) else out_dims
        if not isinstance(dim, int):
            raise ValueError(f"out_dims should be a dimension, or one for each returned tensor, got {out_dims!r}")
        return NewDimension(dim)

    return place


def _stated(
    target: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], in_dims: Dims
) -> list[tuple[Any, Any, int | None]]:
    """Each leaf of (args, kwargs), with the position or name of its argument in front and its dimension behind."""
    defaults, _ = _own_dims(target, args, kwargs)
    by_name: dict[Any, Any] = {}
    if isinstance(in_dims, Mapping):
        by_name = dict(in_dims)
        unknown = [name for name in by_name if name not in range(len(args)) and name not in kwargs]
        if unknown:
            raise ValueError(f"in_dims has {unknown}, but the arguments are {[*range(len(args)), *kwargs]}")
    elif isinstance(in_dims, Sequence):
        if len(in_dims) != len(args):
            raise ValueError(f"in_dims has {len(in_dims)} entries for {len(args)} positional arguments")
        by_name = dict(enumerate(in_dims))
    stated: list[tuple[Any, Any, int | None]] = []
    for name, value in [*enumerate(args), *kwargs.items()]:
        dims = by_name.get(name, defaults(name) if in_dims == 0 or by_name else in_dims)
        stated += [(name, leaf, dim) for leaf, dim in _leaves(value, dims, name)]
    return stated


def _own_dims(
    target: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Callable[[Any], Any], Callable[[int], int]]:
    """The usual dimension of an argument, by position or name, and that of the k-th returned tensor."""
    if isinstance(target, nn.RNNBase | RecurrentNetwork):
        first = 0 if target.batch_first else 1
        names = ("input", "x")

        def state_or_sequence(name: Any) -> int:
            return first if name == 0 or name in names else 1

        return state_or_sequence, (lambda k: first if k == 0 else 1)
    if not isinstance(target, _ATTENTIVE):
        return (lambda name: 0), (lambda k: 0)
    first = 0 if _batch_first(target) else 1
    order = list(signature(target.forward).parameters)

    def of_attention(name: Any) -> int | None:
        name = order[name] if isinstance(name, int) else name
        if name.endswith("key_padding_mask"):
            return 0
        return None if name.endswith("mask") else first

    return of_attention, (lambda k: first if k == 0 else 0)


def _batch_first(target: nn.Module) -> bool:
    """Whether the first dimension of a module with attention is the batch."""
    attention = next(module for module in target.modules() if isinstance(module, nn.MultiheadAttention))
    return attention.batch_first


def _leaves(value: Any, dims: Any, name: Any) -> list[tuple[Any, Any]]:
    """The leaves of one argument, each with its dimension."""
    if dims is None or isinstance(dims, int):
        return [(leaf, dims) for leaf in tree_flatten(value)[0]]
    if isinstance(dims, Mapping) and isinstance(value, Mapping) and set(dims) == set(value):
        return [pair for key in value for pair in _leaves(value[key], dims[key], name)]
    if isinstance(dims, list | tuple) and isinstance(value, list | tuple) and len(dims) == len(value):
        return [pair for part, dim in zip(value, dims, strict=True) for pair in _leaves(part, dim, name)]
    raise ValueError(
        f"in_dims of argument {name!r} should be a dimension, None, or nested as the argument is, got {dims!r}"
    )


def _place(leaf: Any, dim: int | None, samples: int, each: int, name: Any) -> Layout | None:
    """Where the samples are in a leaf.

    Raises:
        ValueError: they are not there.
    """
    if dim is None or not isinstance(leaf, Tensor):
        return None
    shape = tuple(leaf.shape)
    if not -leaf.dim() <= dim < leaf.dim():
        raise ValueError(f"in_dims says {dim} for argument {name!r}, but a tensor in it has shape {shape}")
    if leaf.shape[dim] != samples * each:
        rows = f"{samples} samples" if each == 1 else f"{samples} rows with {each} samples each"
        raise ValueError(
            f"condition has {rows}, but an input has shape {shape}, with the batch in dimension {dim}; in_dims says "
            "where the samples of each argument are, None for what they share"
        )
    return Layout(samples, dim % leaf.dim(), each)
