"""Run every kernel of a kind of layer once, to find out whether they compile and fit the device."""

import functools

import torch

from .operators import loop_of, precision, room
from .shape import LayerShape


def run(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    batch: int,
    sizes: tuple[int, int, int],
    norm: bool,
    masked: bool,
    save: bool,
) -> None:
    """Two steps forward, and backward if `save`, on zeros.

    Raises:
        RuntimeError, OSError, SubprocessError: what Triton raises where a kernel cannot be compiled or does not fit.
    """
    hidden, hyper, embedding = sizes
    shape = LayerShape(
        name=name,
        device=device,
        dtype=dtype,
        batch_sizes=(batch, batch),
        reverse=False,
        input=1,
        hidden=hidden,
        hyper=hyper,
        embedding=embedding,
        bias_h=True,
        norm=norm,
        masked=masked,
        save=save,
        eps=1e-5,
        precision=precision(dtype),
        pdl=torch.cuda.get_device_capability(device) >= (9, 0),
    )
    loop = loop_of(shape)
    tensors = room(loop.inputs() | loop.made() | (loop.scratch() if save else {}), device)
    for tensor in tensors.values():
        tensor.zero_()
    empty = functools.partial(torch.zeros, dtype=dtype, device=device)
    given = {"x": empty(2 * batch, 1), "weight_x": empty(loop.gates * hidden, 1)}
    given["hyper_weight_x"] = empty(4 * hyper, 1 + hidden)
    with torch.cuda.device(device):
        loop.forward(tensors)
        if save:
            loop.backward(tensors)
            loop.gradients(tensors, given, False, True)
        torch.cuda.synchronize(device)
