"""The Triton kernels under the CUDA key of the operators hypernetworks::lstm and hypernetworks::gru.

The operators' schema, fake kernels and gradients are those of the CPU, see native/op.py. What they save for the backward pass
is what these kernels save, too.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from ..native.layer import LayerCall, Tensors
from .dispatch import DTYPES
from .graphs import GraphPool, Recorder, Run, on_device, pool, record_cuda_graph
from .gru import GRULoop
from .hyper_lstm import HyperLSTMLoop
from .launch import Launch, launch
from .loop import Loop, Room
from .loop import Tensors as LoopTensors
from .lstm import LSTMLoop
from .scan import GRUScan, HyperLSTMScan, LSTMScan, is_small
from .shape import LayerShape


def precision(dtype: torch.dtype) -> str:
    """How float32 numbers are multiplied: as torch's own products are, and in TF32 where the storage has fewer digits yet."""
    exact = dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return "tf32x3" if exact else "tf32"


def layer_shape(call: LayerCall, save: bool) -> LayerShape:
    """What a call is made for."""
    x = call.x
    return LayerShape(
        name=call.name,
        device=x.device,
        dtype=x.dtype,
        batch_sizes=tuple(call.batch_sizes.tolist()),
        reverse=call.reverse,
        input=call.sizes.I,
        hidden=call.sizes.H,
        hyper=call.sizes.K,
        embedding=call.sizes.Z,
        bias_h=call.inputs.get("bias_h") is not None,
        norm=call.inputs.get("gain") is not None,
        masked=call.inputs["mask"] is not None,
        save=save,
        eps=call.settings["eps"],
        precision=precision(x.dtype),
        pdl=x.is_cuda and _capability(x.device) >= (9, 0),
    )


_capability = functools.cache(torch.cuda.get_device_capability)


def loop_of(shape: LayerShape, launch: Launch = launch, scan: bool = True) -> Loop:
    """The loops of a shape. With `scan`, those of small layers are within a kernel."""
    scan = scan and is_small(shape)
    if shape.name == "gru":
        return (GRUScan if scan else GRULoop)(shape, launch)
    if shape.hyper:
        return (HyperLSTMScan if scan else HyperLSTMLoop)(shape, launch)
    return (LSTMScan if scan else LSTMLoop)(shape, launch)


class CapturedLoop:
    """Loops in graphs, one forward and one backward, and their tensors."""

    def __init__(self, loop: Loop, record: Recorder) -> None:
        self.loop = loop
        needed = loop.inputs() | loop.made() | (loop.scratch() if loop.shape.save else {})
        self.tensors: dict[str, Tensor] = room(needed, loop.shape.device)
        for tensor in self.tensors.values():
            tensor.zero_()
        self.forward: Run = self._record(record, loop.forward)
        if loop.shape.save:
            self.backward: Run = self._record(record, loop.backward)

    def _record(self, record: Recorder, run: Callable[[LoopTensors], None]) -> Run:
        run(self.tensors)  # compiles and loads every kernel
        return record(lambda: run(self.tensors))


class TritonLayers:
    """The kernels as an operator calls them."""

    title = "Triton"
    dtypes = DTYPES

    def __init__(
        self, device: str = "cuda", graphs: GraphPool = pool, launch: Launch = launch, scan: bool = True
    ) -> None:
        self.device = device
        self.graphs = graphs
        self.loop_of: functools.partial[Loop] = functools.partial(loop_of, launch=launch, scan=scan)

    def forward(self, call: LayerCall, results: LoopTensors, save: bool) -> None:
        """Compute the answer and what is saved into `results`."""
        loop = self.loop_of(layer_shape(call, save))
        kept = _kept(loop, results)
        for name in results.keys() - loop.made().keys():
            results[name].zero_()  # such as the moments of a norm that is not there
        read = loop.read(call.inputs)
        with self.graphs.lock, on_device(call.x):
            captured = self._captured(loop)
            if captured is None:
                made = {name: what for name, what in loop.made().items() if name not in kept}
                tensors = read | room(made, call.x.device) | kept
                loop.begin(tensors, call.inputs)
                loop.forward(tensors)
            else:
                tensors = captured.tensors
                copy(read, tensors)
                loop.begin(tensors, call.inputs)
                captured.forward()
                copy({name: tensors[name] for name in kept}, results)
            copy({name: tensors[name] for name in loop.states}, results)

    def backward(self, call: LayerCall, came: Tensors, results: LoopTensors, grads: LoopTensors, *needs: bool) -> None:
        """Compute the gradients of the inputs into `grads`."""
        loop = self.loop_of(layer_shape(call, True))
        given = loop.read(call.inputs) | _kept(loop, results)
        with self.graphs.lock, on_device(call.x):
            captured = None if loop.one_launch else self.graphs.find(self._key(loop))
            tensors = given | room(loop.scratch(), call.x.device) if captured is None else captured.tensors
            if captured is not None:
                copy(given, tensors)
            loop.begin_backward(tensors, call.inputs)
            for name in ("output", *loop.states):
                gradient = came[name]
                tensors[f"grad_{name}"].zero_() if gradient is None else tensors[f"grad_{name}"].copy_(gradient)
            loop.backward(tensors) if captured is None else captured.backward()
            computed = loop.gradients(tensors, call.inputs, *needs)
        copy({name: computed[name] for name, grad in grads.items() if grad.numel()}, grads)

    def _captured(self, loop: Loop) -> CapturedLoop | None:
        if loop.one_launch:
            return None
        if self.device != "cuda":  # Triton's interpreter: graphs are for tests with a recorder of their own
            allowed = self.graphs.record is not record_cuda_graph
        else:
            allowed = not torch.cuda.is_current_stream_capturing()  # else it becomes a part of someone else's graph
        return self.graphs.get(self._key(loop), functools.partial(CapturedLoop, loop)) if allowed else None

    def _key(self, loop: Loop) -> tuple[LayerShape, int]:
        device = loop.shape.device
        return loop.shape, torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def _kept(loop: Loop, results: LoopTensors) -> LoopTensors:
    """The results that the loop computes in place: all but the final states, which may have another dtype."""
    names = [name for name in loop.made() if name in results and name not in loop.states]
    return {name: results[name] for name in names if results[name].numel()}


def room(tensors: Room, device: torch.device) -> LoopTensors:
    """Fresh memory for tensors of these shapes and dtypes."""
    return {name: torch.empty(size, dtype=dtype, device=device) for name, (size, dtype) in tensors.items()}


def copy(tensors: LoopTensors, to: LoopTensors) -> None:
    """Copy tensors to those of the same names."""
    for name, tensor in tensors.items():
        to[name].copy_(tensor)
