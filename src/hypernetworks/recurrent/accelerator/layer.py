"""A layer of LSTM or HyperLSTM as a differentiable function of torch, computed by the kernels of this package.

`lstm_layer` takes what the operator hypernetworks::lstm takes: its inputs by name, the dropout mask, the rows of each step, the
direction and ε.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .graphs import CapturedMemory, GraphPool, Memory, record_cuda_graph, room
from .launch import launch
from .lstm import NORM, LSTMLoop, Tensors
from .shape import LayerShape

STATES = ("h0", "c0", "hyper_h0", "hyper_c0")
INPUTS = (
    *("x", *STATES, "weight_x", "weight_h", "bias", *NORM),
    *("hyper_weight_x", "hyper_weight_h", "hyper_bias", *(f"hyper_{name}" for name in NORM), "P", "p", "D"),
)
ANSWER = ("output", "h", "c", "hyper_h", "hyper_c")
KEPT_FOR_ONE_STEP = ("h", "c", "hyper_h", "hyper_c")
"""The running state: from the initial one to the final one."""
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_HIDDEN, MAX_HYPER, MAX_EMBEDDING = 2048, 256, 64

pool = GraphPool(launch, record_cuda_graph)
"""The captured layers of this process."""


def precision(dtype: torch.dtype) -> str:
    """How float32 numbers are multiplied: as torch's own products are, and in TF32 where the storage has fewer digits yet."""
    exact = dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return "tf32x3" if exact else "tf32"


def layer_shape(
    inputs: Mapping[str, Tensor | None],
    mask: Tensor | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
    eps: float,
    save: bool,
) -> LayerShape:
    """What a call of `lstm_layer` is made for."""
    x, h0 = inputs["x"], inputs["h0"]
    assert x is not None
    assert h0 is not None
    P = inputs.get("P")
    batch = h0.shape[0]
    return LayerShape(
        device=x.device,
        dtype=x.dtype,
        batch_sizes=(batch,) * (x.shape[0] // batch) if batch_sizes is None else tuple(batch_sizes),
        reverse=reverse,
        input=x.shape[1],
        hidden=h0.shape[1],
        hyper=0 if P is None else P.shape[2],
        embedding=0 if P is None else P.shape[1],
        bias=inputs.get("bias") is not None,
        norm=inputs.get("gain") is not None,
        masked=mask is not None,
        save=save,
        eps=eps,
        precision=precision(x.dtype),
        pdl=x.is_cuda and torch.cuda.get_device_capability(x.device) >= (9, 0),
    )


def refusal(shape: LayerShape) -> str | None:
    """Why the kernels do not serve this shape; None where they do."""
    if shape.dtype not in DTYPES:
        return f"dtype {shape.dtype}"
    if shape.hidden > MAX_HIDDEN or shape.hyper > MAX_HYPER or shape.embedding > MAX_EMBEDDING:
        return f"hidden size {shape.hidden}, hyper size {shape.hyper}, embedding size {shape.embedding}"
    return None


def lstm_layer(
    inputs: Mapping[str, Tensor | None],
    mask: Tensor | None,
    batch_sizes: Sequence[int] | None,
    reverse: bool,
    eps: float,
    pool: GraphPool = pool,
) -> tuple[Tensor, ...]:
    """Output (N, H), then the final h and c, and ĥ and ĉ where there is a hyper cell."""
    given = [inputs.get(name) for name in INPUTS]
    save = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
    shape = layer_shape(inputs, mask, batch_sizes, reverse, eps, save)
    return _LSTMLayer.apply(shape, pool, *given, mask)  # pyright: ignore[reportReturnType]


class _LSTMLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shape: LayerShape, pool: GraphPool, *given: Tensor | None) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs = dict(zip((*INPUTS, "mask"), given, strict=True))
        memory, token = _memory(shape, pool)
        _copy_inputs(memory, inputs)
        memory.forward()
        tensors = memory.tensors
        answer = tuple(tensors[name].to(shape.dtype, copy=True) for name in ANSWER if name in tensors)
        if shape.save:
            kept = {name: tensor for name, tensor in tensors.items() if name not in KEPT_FOR_ONE_STEP}
            if not shape.hyper:
                kept.pop("wx")
            ctx.shape, ctx.pool, ctx.names = shape, pool, tuple(kept)
            ctx.memory = memory if isinstance(memory, CapturedMemory) else None
            ctx.save_for_backward(*given, token, *kept.values())
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *came: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        shape: LayerShape = ctx.shape
        saved = ctx.saved_tensors
        inputs = dict(zip(INPUTS, saved[: len(INPUTS)], strict=True))
        tensors = dict(zip(ctx.names, saved[len(INPUTS) + 2 :], strict=True))
        x = inputs["x"]
        assert x is not None
        needs = dict(zip(INPUTS, ctx.needs_input_grad[2:], strict=False))
        need_weights = any(need for name, need in needs.items() if name not in ("x", *STATES))
        memory: CapturedMemory | None = ctx.memory
        if memory is not None and not _on_own_memory(memory, tensors):
            memory = None
        loop = LSTMLoop(shape, ctx.pool.launch)
        with ctx.pool.lock:
            scratch = room(shape, loop.scratch()) if memory is None else memory.scratch
            _copy_gradients(scratch, came)
            everything = tensors | scratch
            if memory is None:
                loop.backward(everything)
            else:
                memory.backward()
            grads = loop.gradients(everything, x, loop.input_weight(inputs), needs["x"], need_weights)
        return None, None, *(grads.get(name) if needs[name] else None for name in INPUTS), None


def _memory(shape: LayerShape, pool: GraphPool) -> tuple[Memory, Tensor | None]:
    if shape.device.type != "cuda":  # Triton's interpreter: graphs are for tests with a recorder of their own
        return (Memory(shape, pool.launch), None) if pool.record is record_cuda_graph else pool.memory(shape, 0)
    if torch.cuda.is_current_stream_capturing():
        return Memory(shape, pool.launch), None  # it becomes a part of someone else's graph
    return pool.memory(shape, torch.cuda.current_stream(shape.device).cuda_stream)


def _copy_inputs(memory: Memory, inputs: Mapping[str, Tensor | None]) -> None:
    """The initial state, the weights as the kernels have them, and the product on x."""
    shape, tensors = memory.shape, memory.tensors
    source = dict(inputs)
    if shape.hyper:
        weight = inputs["hyper_weight_x"]
        assert weight is not None
        source |= {"hyper_weight_h": weight[:, shape.input :], "hyper_weight_hh": inputs["hyper_weight_h"]}
    for name in memory.loop.inputs():
        tensor = source[name]
        assert tensor is not None
        tensors[name].copy_(tensor)
    for name in KEPT_FOR_ONE_STEP[: 4 if shape.hyper else 2]:
        tensors[name].copy_(tensors[f"{name}0"])
    x = inputs["x"]
    assert x is not None
    memory.loop.project(x, inputs, tensors["wx"])


def _copy_gradients(scratch: Tensors, came: Sequence[Tensor | None]) -> None:
    names = ("grad_output", "grad_h", "grad_c", "grad_hyper_h", "grad_hyper_c")
    for name, gradient in zip(names[: len(came)], came, strict=True):
        if gradient is None:
            scratch[name].zero_()
        else:
            scratch[name].copy_(gradient)


def _on_own_memory(memory: CapturedMemory, tensors: Tensors) -> bool:
    """Whether what was saved is still where the captured loop reads it: hooks on saved tensors may have moved it."""
    return all(tensor.data_ptr() == memory.tensors[name].data_ptr() for name, tensor in tensors.items())
