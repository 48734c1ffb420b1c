"""Takes back what a run of a probe writes into tensors of the target.

A copy of a target shares its parameters, and tensors that are plain attributes, with it. A target may change these in place,
for example to keep a moving average of its activations or to renew a codebook. In a run with replaced inputs this would be
wrong, so the contents of such a tensor are stored before a function of torch that may write into it is called.

The functions are known by their names (`add_`, `__iadd__`, `__setitem__`) and flags (`out=`, `inplace=True`). What others
write, such as NumPy through a shared memory, is not seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hypernetworks.torch_compat import MODULE_ATTRIBUTES, tree_flatten
from hypernetworks.weights.per_sample.objects import tensors_inside
from hypernetworks.weights.per_sample.slots import Slot

_SET_DATA = Tensor.data.__set__  # pyright: ignore[reportAttributeAccessIssue]
_TABLES = (F.embedding, F.embedding_bag)


class KeptTensors(TorchFunctionMode):
    """Within it, whatever functions of torch write into tensors of a target is taken back at the end."""

    def __init__(self, target: nn.Module) -> None:
        super().__init__()
        self._target = target
        self._contents: dict[int, torch.UntypedStorage] = {}
        self._data: list[tuple[Tensor, Tensor]] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        for tensor, data in reversed(self._data):
            tensor.data = data
        for place, contents in self._contents.items():
            self._owned[place].untyped_storage().copy_(contents)  # the tensors' versions stay
        self._data, self._contents = [], {}

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function."""
        kwargs = kwargs or {}
        if func == _SET_DATA and not isinstance(args[0], Slot):
            _ = self._owned  # before a memory is replaced
            self._data.append((args[0], args[0].data))
        elif _may_write(func, args, kwargs):
            for leaf in tree_flatten((args, kwargs))[0]:
                if isinstance(leaf, Tensor) and _has_memory(leaf):
                    self._store(leaf)
        return func(*args, **kwargs)

    @cached_property
    def _owned(self) -> dict[int, Tensor]:
        """The tensors of the target by the places of their memories. Most targets write nothing and are not searched."""
        return {tensor.untyped_storage().data_ptr(): tensor for tensor in _tensors(self._target) if _has_memory(tensor)}

    def _store(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place in self._owned and place not in self._contents:
            self._contents[place] = storage.clone()


def _may_write(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a function may write into a tensor that it is given."""
    name = getattr(func, "__name__", "").partition(".")[0]
    if name == "__setitem__" or (name.startswith("__i") and name.endswith("__")):
        return True
    if name.endswith("_") and not name.endswith("__"):
        return True
    if func in _TABLES:  # with max_norm they scale the rows that they find
        return kwargs.get("max_norm") is not None or (len(args) > 3 and args[3] is not None)
    return kwargs.get("out") is not None or kwargs.get("inplace") is True or any(arg is True for arg in args)


def _tensors(target: nn.Module) -> Iterator[Tensor]:
    """The parameters, buffers and other tensors that a target holds."""
    for module in target.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                yield tensor
        for name, value in vars(module).items():
            if name not in MODULE_ATTRIBUTES and not isinstance(value, nn.Module):
                yield from tensors_inside(value)


def _has_memory(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one with a memory of its own."""
    return not isinstance(tensor, Slot) and tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() != 0
