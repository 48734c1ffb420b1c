"""The operations of a layer for torch.utils.flop_counter: multiplications and additions of its matrix products.

    forward pass    2 N · Σ |W|           each matrix W is multiplied with a vector in each of the N rows of all time steps
    backward pass   2 N · Σ |W| for the gradients of the vectors, and the same for those of the matrices

so that a count does not depend on the path that computes the layer.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

_READ_X = ("weight_x", "hyper_weight_x")
"""The matrices that are multiplied with x, alone or before h."""
_MATRICES = (*_READ_X, "weight_h", "hyper_weight_h", "P", "D")


def forward_flops(inputs: Mapping[str, Any]) -> int:
    """The operations of a forward pass, from the shapes of an operator's inputs by their names."""
    return 2 * inputs["x"][0] * _size(inputs)


def backward_flops(inputs: Mapping[str, Any], need_input: bool, need_weights: bool) -> int:
    """Those of a backward pass. The gradients of x and of the weights are computed if needed, those of the state always."""
    rows, width = inputs["x"]
    of_x = sum(inputs[name][0] * width for name in _READ_X if inputs[name] is not None)
    size = _size(inputs)
    return 2 * rows * (size - of_x + need_input * of_x + need_weights * size)


def _size(inputs: Mapping[str, Any]) -> int:
    return sum(prod(inputs[name]) for name in _MATRICES if inputs[name] is not None)
