"""One time step of a stack of layers in one call of the kernel, and the storage of the big matrices.

A step of one row reads each weight once and does little besides, so its time is that of reading them. A bare cell reads them
where they are; a stepper packs them once, in their own type, bfloat16 or int8.
"""

import ctypes
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from .call import Kernel, structure
from .huge_pages import on_huge_pages
from .layer import Sizes, Tensors
from .op import LayerOp
from .threads import thread_count

CELLS: Final = ("lstm", "gru", "rnn", "rhn")
"""The operators, in the order in which the kernel numbers their cells."""

STORAGES: Final = ("own", "bfloat16", "int8")
"""In the order in which the kernel numbers them."""

_STORED_AS: Final = {"bfloat16": torch.bfloat16, "int8": torch.int8}

FEW_WEIGHTS: Final = 1 << 15
"""With fewer weights for each, another thread costs more than it saves."""

_kernel = Kernel("StepperCall", "stepper.h")


class StepLayer(NamedTuple):
    """A layer: its operator, the weights by the operator's names, and the settings."""

    op: LayerOp
    weights: Tensors
    settings: Sequence[float]


class Stored(NamedTuple):
    """A big matrix as the kernel reads it: rows `stride` numbers apart, and in int8 the scale of each."""

    numbers: Tensor
    stride: int
    scale: Tensor | None = None


class OneStep:
    """Single steps of one layer, whose weights are read where they are.

    Checking the weights and describing them to the kernel takes longer than the step of a small network, so both are done once
    and hold as long as `still_reads` says so. Several threads may use it at once: each call has its own structures.
    """

    def __init__(self, layer: StepLayer, x: Tensor, state: Sequence[Tensor]) -> None:
        given = dict(zip(("x", *layer.op.states), (x, *state), strict=False))
        tensors, sizes = layer.op.checked(given | layer.weights)
        self._settings, self._places = layer.settings, _places(layer.weights)
        # a weight that is not in one piece was copied, and the copy is as old as this object
        self._copied = [tensors[name] for name, tensor in layer.weights.items() if tensors[name] is not tensor]
        self._op = layer.op
        self._layer = _layer_structure()()
        _fill_weights(self._layer, layer, tensors, sizes)
        self._call = _call_structure()()
        self._call.layers, self._call.cell = 1, CELLS.index(layer.op.name)
        self._threads = max(1, _numbers(layer) // FEW_WEIGHTS)
        self._dtype, self._run = x.dtype, _kernel.bind("stepper_step", x.dtype)
        # how many numbers a call needs, by its batch and threads
        self._workspace: dict[tuple[int, int], int] = {}

    def still_reads(self, weights: Tensors, settings: Sequence[float]) -> bool:
        """Whether these are the weights that it reads: every tensor is where it was and as it was."""
        return not self._copied and settings == self._settings and _places(weights) == self._places

    def __call__(self, x: Tensor, state: Sequence[Tensor]) -> list[Tensor]:
        """From x (B, I) and the state, each (B, size), to the new state."""
        x, now = x.contiguous(), [tensor.contiguous() for tensor in state]
        new = [torch.empty_like(tensor) for tensor in now]
        layer, call = type(self._layer).from_buffer_copy(self._layer), type(self._call).from_buffer_copy(self._call)
        _fill_state(layer, self._op, now, new)
        call.batch, call.threads = size = x.shape[0], min(thread_count(), self._threads)
        call.layer, call.x = ctypes.addressof(layer), x.data_ptr()
        at = ctypes.addressof(call)
        if size not in self._workspace:
            self._workspace[size] = self._run(at)
        workspace = torch.empty(self._workspace[size], dtype=self._dtype, device="cpu")
        call.workspace = workspace.data_ptr()
        self._run(at)
        return new


def _numbers(layer: StepLayer) -> int:
    """How many numbers its weights have."""
    return sum(tensor.numel() for tensor in layer.weights.values() if tensor is not None)


def _places(tensors: Tensors) -> list[Any]:
    """Where the numbers of each tensor are, and how they are stored."""
    return [
        None if t is None else (t.data_ptr(), t.shape, t.stride(), t.dtype, t.is_neg(), type(t))
        for t in tensors.values()
    ]


class PackedSteps:
    """Steps of a stack of layers whose weights are packed once, and their state.

    layers: from the first; the stack's input is the first's, and each other reads the one before. storage: of the big matrices.
    """

    native = True

    def __init__(self, layers: Sequence[StepLayer], state_sizes: Sequence[int], storage: str) -> None:
        self._layers, self._sizes, self._storage = layers, state_sizes, storage
        self._kept: list[Any] = []
        checked = [self._copied(layer, state_sizes) for layer in layers]
        big = [_big_matrices(tensors, sizes) for tensors, sizes in checked]
        stored = iter(pack([matrix for of_layer in big for matrix in of_layer.values()], storage))
        self._structures = (_layer_structure() * len(layers))()
        for to, layer, (tensors, sizes), of_layer in zip(self._structures, layers, checked, big, strict=True):
            packed = {name: next(stored) for name in of_layer}
            _fill_weights(to, layer, tensors, sizes)
            _fill_big(to, packed)
            self._kept += [tensors, packed]
        self._dtype = checked[0][0]["weight_x"].dtype

    def _copied(self, layer: StepLayer, state_sizes: Sequence[int]) -> tuple[dict[str, Any], Sizes]:
        weights = {name: None if tensor is None else tensor.detach().clone() for name, tensor in layer.weights.items()}
        x = weights["weight_x"]
        assert x is not None
        given = [x.new_empty((1, size)) for size in (x.shape[1], *state_sizes)]
        return layer.op.checked(dict(zip(("x", *layer.op.states), given, strict=False)) | weights)

    def begin(self, states: Sequence[Tensor]) -> None:
        """Start from these states, each (layers, B, size)."""
        self._states = [
            torch.stack((tensor, tensor)) for tensor in states
        ]  # (2, layers, B, size): before and after a step
        self._batch = states[0].shape[1]
        for k, (to, layer) in enumerate(zip(self._structures, self._layers, strict=True)):
            now, new = ([pair[turn, k] for pair in self._states] for turn in (0, 1))
            _fill_state(to, layer.op, now, new)
        self._call = _Call(self._structures, self._layers, self._dtype, self._batch, self._storage)
        self._output = (self._batch, states[0].shape[2])

    @property
    def states(self) -> list[Tensor]:
        """The states, each (layers, B, size), in place."""
        return [pair[self._call.swapped] for pair in self._states]

    def step(self, x: Tensor) -> Tensor:
        """From x (B, I), in one piece, to h (B, H) of the last layer, a fresh tensor."""
        h = torch.empty(self._output, dtype=self._dtype, device="cpu")
        self._call.run(x, h)
        return h


class _Call:
    """A call of the kernel on these layers, again and again."""

    def __init__(
        self, layers: Any, described: Sequence[StepLayer], dtype: torch.dtype, batch: int, storage: str
    ) -> None:
        self._layers = layers
        self._call = _call_structure()()
        self._call.batch, self._call.layers = batch, len(layers)
        self._call.cell, self._call.storage = CELLS.index(described[0].op.name), STORAGES.index(storage)
        self._call.threads = max(1, min(thread_count(), sum(map(_numbers, described)) // FEW_WEIGHTS))
        self._call.layer = ctypes.addressof(layers)
        self._run, self._at = _kernel.bind("stepper_step", dtype), ctypes.addressof(self._call)
        self._workspace = torch.empty(self._run(self._at), dtype=dtype, device="cpu")
        self._call.workspace = self._workspace.data_ptr()

    @property
    def swapped(self) -> int:
        """1 where the next call finds the state in the second place and reads the weights from their end on, else 0."""
        return self._call.swapped

    def run(self, x: Tensor, output: Tensor) -> None:
        """One step from x (B, I), in one piece; h of the last layer goes into the output."""
        call = self._call
        call.x = x.data_ptr()
        call.output = output.data_ptr()
        self._run(self._at)
        call.swapped ^= 1


def pack(matrices: Sequence[Tensor], storage: str) -> list[Stored]:
    """Copies of the matrices, one behind the other on huge pages, in this storage."""
    dtype = _STORED_AS.get(storage, matrices[0].dtype)
    padding = 1 if storage == "own" else _kernel.bind("stepper_padding", torch.float32)(None)
    strides = [-(-matrix.shape[1] // padding) * padding for matrix in matrices]
    lengths = [-(-matrix.shape[0] * stride // 64) * 64 for matrix, stride in zip(matrices, strides, strict=True)]
    room = torch.empty(sum(lengths), dtype=dtype, device="cpu")
    on_huge_pages(room)
    room.zero_()
    packed = []
    for matrix, stride, part in zip(matrices, strides, room.split(lengths), strict=True):
        rows, columns = matrix.shape
        scale = None
        if storage == "int8":
            # w ≈ scale · q, q a whole number from −127 to 127
            scale = matrix.abs().amax(dim=1) / 127
            matrix = (matrix / scale.clamp_min(torch.finfo(scale.dtype).tiny).unsqueeze(1)).round()
        part[: rows * stride].view(rows, stride)[:, :columns] = matrix
        packed.append(Stored(part, stride, scale))
    return packed


def _big_matrices(tensors: Mapping[str, Any], sizes: Sizes) -> dict[str, Tensor]:
    """The matrices that a step spends its time on, each (rows, columns); the hyper cell's on x and on h apart."""
    big = {name: tensors[name] for name in ("weight_x", "weight_h", "D") if tensors.get(name) is not None}
    if tensors.get("hyper_weight_x") is not None:
        big["hyper_on_x"], big["hyper_on_h"] = tensors["hyper_weight_x"].tensor_split((sizes.I,), dim=1)
    return {name: matrix.flatten(0, -2) for name, matrix in big.items()}


@functools.cache
def _call_structure() -> Any:
    return structure("StepperCall", "stepper.h")


@functools.cache
def _layer_structure() -> Any:
    return structure("StepperLayer", "stepper.h")


@functools.cache
def _layer_pointers() -> frozenset[str]:
    return frozenset(name for name, kind in _layer_structure()._fields_ if kind is ctypes.c_void_p)


def _fill_weights(to: Any, layer: StepLayer, tensors: Mapping[str, Any], sizes: Sizes) -> None:
    """Sizes, settings and weights, which are read where they are."""
    to.input, to.hidden, to.depth, to.hyper, to.embedding = sizes.I, sizes.H, sizes.L, sizes.K, sizes.Z
    for name, value in zip(layer.op.settings, layer.settings, strict=True):
        setattr(to, name, value)
    pointers = _layer_pointers()
    for name in layer.op.weights:
        if tensors[name] is not None and name in pointers:
            setattr(to, name, tensors[name].data_ptr())
    for name in ("weight_x", "weight_h", "D"):
        if tensors.get(name) is not None:
            setattr(to, f"{name}_stride", tensors[name].shape[-1])
    both = tensors.get("hyper_weight_x")
    if both is not None:
        to.hyper_on_x = both.data_ptr()
        to.hyper_on_h = to.hyper_on_x + sizes.I * both.itemsize
        to.hyper_on_x_stride = to.hyper_on_h_stride = both.shape[1]


def _fill_big(to: Any, stored: Mapping[str, Stored]) -> None:
    """The big matrices in another place and storage."""
    for name, matrix in stored.items():
        setattr(to, name, matrix.numbers.data_ptr())
        setattr(to, f"{name}_stride", matrix.stride)
        setattr(to, f"{name}_scale", None if matrix.scale is None else matrix.scale.data_ptr())


def _fill_state(to: Any, op: LayerOp, now: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    for (field, next_field), before, after in zip(_state_fields(op), now, new, strict=False):
        setattr(to, field, before.data_ptr())
        setattr(to, next_field, after.data_ptr())


@functools.cache
def _state_fields(op: LayerOp) -> list[tuple[str, str]]:
    """The fields of each tensor of the state: before and after a step."""
    names = [name.removesuffix("0") for name in op.states]
    return [(name, f"next_{name}") for name in names]
