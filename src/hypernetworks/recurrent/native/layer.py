"""What computes a layer behind an operator: the call, as an operator passes it on, and the C++ kernels for the CPU."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from .call import SUFFIX, Kernel
from .huge_pages import on_huge_pages
from .threads import thread_count

Tensors = dict[str, Tensor | None]
Shapes = dict[str, tuple[int, ...]]


class Sizes(NamedTuple):
    """N rows of all time steps, B batch, I input, H hidden, L depth, K hyper hidden (0: no hyper cell), Z embedding."""

    N: int
    B: int
    I: int
    H: int
    L: int
    K: int
    Z: int

    def fields(self) -> dict[str, int]:
        """The sizes by their names in the kernels' structure."""
        return dict(zip(("rows", "batch", "input", "hidden", "depth", "hyper", "embedding"), self, strict=True))


class LayerCall(NamedTuple):
    """One call of an operator, checked."""

    name: str
    """Of the operator."""
    inputs: Tensors
    """By name, `mask` among them; those left out are None. All are contiguous."""
    sizes: Sizes
    batch_sizes: Tensor
    """B_t for every step, int64 on the CPU."""
    reverse: bool
    settings: dict[str, float]

    @property
    def x(self) -> Tensor:
        """The rows of all steps."""
        x = self.inputs["x"]
        assert x is not None
        return x


class LayerKernels(Protocol):
    """What computes the layers of one type of device."""

    title: str
    """For messages."""
    device: str
    dtypes: tuple[torch.dtype, ...]

    def forward(self, call: LayerCall, results: dict[str, Tensor], save: bool) -> None:
        """Compute the answer and what is saved into `results`."""
        ...

    def backward(
        self, call: LayerCall, came: Tensors, results: dict[str, Tensor], grads: dict[str, Tensor], *needs: bool
    ) -> None:
        """Compute the gradients of the inputs into `grads`, from those that came. needs: of x, and of the weights."""
        ...


class NativeLayers:
    """The C++ kernels: a structure of pointers for each call."""

    title = "native"
    device = "cpu"
    dtypes: tuple[torch.dtype, ...] = tuple(SUFFIX)

    def __init__(self) -> None:
        self._kernel = Kernel("LayerCall", "layer_call.h")

    def forward(self, call: LayerCall, results: dict[str, Tensor], save: bool) -> None:
        """Compute the answer and what is saved into `results`."""
        for tensor in results.values():
            on_huge_pages(tensor)
        self._run("forward", call, results | {"save": save})

    def backward(
        self, call: LayerCall, came: Tensors, results: dict[str, Tensor], grads: dict[str, Tensor], *needs: bool
    ) -> None:
        """Compute the gradients of the inputs into `grads`."""
        fields = results | {"save": True} | dict(zip(("need_input", "need_weights"), needs, strict=True))
        fields |= {f"grad_{name}": tensor for name, tensor in came.items()}
        fields |= {f"grad_{name}": tensor for name, tensor in grads.items() if tensor.numel()}
        self._run("backward", call, fields)

    def _run(self, which: str, call: LayerCall, fields: Mapping[str, Any]) -> None:
        given = {**call.inputs, **call.sizes.fields(), **call.settings, **fields}
        given |= {"steps": len(call.batch_sizes), "batch_sizes": call.batch_sizes, "reverse": call.reverse}
        self._kernel(f"{call.name}_{which}", call.x.dtype, given | {"threads": thread_count()})


def check_tensors(
    first: Tensor,
    tensors: Mapping[str, Tensor | None],
    shapes: Shapes,
    kernels: LayerKernels,
    dtypes: Mapping[str, Any],
) -> None:
    """Every tensor that is given has its shape, is where `first` is, and has the dtype of `first` or that in `dtypes`."""
    if first.dtype not in kernels.dtypes:
        served = " and ".join(str(dtype).removeprefix("torch.") for dtype in kernels.dtypes)
        raise TypeError(f"the {kernels.title} kernels serve {served}, got {first.dtype}")
    where = "the CPU" if kernels.device == "cpu" else str(first.device)
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.shape != shapes[name]:
            raise ValueError(f"{name} should have shape {shapes[name]}, got {tuple(tensor.shape)}")
        dtype = dtypes.get(name, first.dtype)
        if tensor.dtype != dtype or tensor.device.type != kernels.device or tensor.device != first.device:
            raise TypeError(f"{name} should be {dtype} on {where}, got {tensor.dtype} on {tensor.device}")


def all_batch_sizes(batch_sizes: Sequence[int] | None, rows: int, batch: int) -> Tensor:
    """B_t for every step, checked: from B down to 1, never growing, N rows in all; B each where none are given."""
    if rows == 0 or batch == 0:
        raise ValueError(f"there should be at least one row and one sequence, got {rows} and {batch}")
    if batch_sizes is None:
        if rows % batch:
            raise ValueError(f"{rows} rows are no whole number of steps of {batch} sequences")
        return torch.full((rows // batch,), batch, dtype=torch.int64, device="cpu")
    sizes = torch.tensor(batch_sizes, dtype=torch.int64, device="cpu")
    falling = len(sizes) > 0 and sizes[0] == batch and sizes[-1] >= 1 and not (sizes[1:] > sizes[:-1]).any()
    if not falling or sizes.sum() != rows:
        raise ValueError(
            f"batch_sizes should fall from {batch} to at least 1 and sum up to {rows}, got {list(batch_sizes)}"
        )
    return sizes
