"""Objects that are no tensors but hold some, such as a cache of keys and values: as arguments, and as results."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from torch import Tensor

from hypernetworks.torch_compat import is_batched
from hypernetworks.weights.per_sample.refusals import Refusals


def tensors_inside(value: Any) -> Iterator[Tensor]:
    """The tensors in the attributes of an object, and in dicts, lists, tuples and objects among them."""
    seen, waiting = {id(value)}, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Tensor):
            yield part
            continue
        if isinstance(part, type):
            continue
        inside = [*part.values()] if isinstance(part, dict) else [*part] if isinstance(part, list | tuple) else []
        for each in (*inside, *getattr(part, "__dict__", {}).values()):
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)


def copied(leaf: Any) -> Any:
    """An argument that a call may change.

    Raises:
        NotServedError: it cannot be copied.
    """
    if isinstance(leaf, Tensor):
        return leaf.clone()
    # torch copies no tensor that was computed with gradients; deepcopy takes what it finds here for the copy
    memo: dict[int, Any] = {id(tensor): tensor.detach().clone() for tensor in tensors_inside(leaf)}
    with Refusals(f"an argument of type {type(leaf).__name__} cannot be copied"):
        return deepcopy(leaf, memo)


def check_closed(leaf: Any, verb: str) -> None:
    """Check that what a target returns or is given under vmap holds no tensor of it, which would be dead outside.

    Raises:
        ValueError: it does. The message says that the target `verb` (returns, changes) it.
    """
    if any(is_batched(tensor) for tensor in tensors_inside(leaf)):
        raise ValueError(
            f"the target {verb} a {type(leaf).__name__} that holds tensors of each sample, which weights for each sample "
            "cannot give back: let it return tensors, or none of it (use_cache=False in transformers), or run each sample "
            "with `with net.using(c[n]) as adapted`"
        )
