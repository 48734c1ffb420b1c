"""The call of a kernel for one step, with everything in place that does not change from step to step.

A step of one row reads each weight once, which takes about a tenth of a millisecond; looking at the shapes of all weights again
would take as long.
"""

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .call import Kernel


class Plan:
    """`run(x, state)` for weights that lie where they lay when the plan was made, which `fits` tells."""

    def __init__(
        self,
        kernel: Kernel,
        function: str,
        key: Sequence[Any],
        weights: Mapping[str, Tensor | None],
        fields: Mapping[str, Any],
        given: Mapping[str, Sequence[int]],
        answer: Mapping[str, Sequence[int]],
    ) -> None:
        self._key = (*key, *_places(weights.values()))
        self._given = [(name, torch.Size(shape)) for name, shape in given.items()]
        self._answer = list(answer.items())
        self._dtype = fields["x"].dtype
        # the call holds the addresses of batch_sizes, and of copies of weights that do not lie in one piece; the weights
        # themselves are not kept: a plan lives as long as they do
        self._kept = [
            value
            for name, value in fields.items()
            if isinstance(value, Tensor) and name not in given and value is not weights.get(name)
        ]
        self._function = kernel.bind(function, self._dtype)
        self._call = kernel.fill({name: value for name, value in fields.items() if name not in given})
        self._room = self._function(ctypes.byref(self._call))
        # a copy is good for once
        self._lasts = all(weight is None or weight.is_contiguous() for weight in weights.values())

    def fits(self, key: Sequence[Any], weights: Mapping[str, Tensor | None]) -> bool:
        """Whether these are the weights, at the same place and of the same shape, that the plan was made for."""
        return self._lasts and self._key == (*key, *_places(weights.values()))

    def run(self, given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The answer for x and the state, in fresh tensors."""
        call = type(self._call).from_buffer_copy(self._call)
        self._call.turned ^= 1  # the next step begins with the weights that this one ends with: step.h
        kept = []
        for (name, shape), tensor in zip(self._given, given, strict=True):
            if tensor.shape != shape or tensor.dtype != self._dtype:
                raise ValueError(
                    f"{name} should be {self._dtype} of shape {tuple(shape)}, got {tensor.dtype}, {tensor.shape}"
                )
            kept.append(tensor.contiguous())
            setattr(call, name, kept[-1].data_ptr())
        results = []
        for name, shape in self._answer:
            results.append(torch.empty(shape, dtype=self._dtype, device="cpu"))
            setattr(call, name, results[-1].data_ptr())
        space = torch.empty(self._room, dtype=self._dtype, device="cpu")
        call.space = space.data_ptr()
        self._function(ctypes.byref(call))
        return tuple(results)


def _places(weights: Iterable[Tensor | None]) -> list[Any]:
    """What each is, where it lies and how: weights of which this is the same need not be looked at again."""
    return [None if w is None else (type(w), w.is_neg(), w.data_ptr(), w.shape, w.stride(), w.dtype) for w in weights]
