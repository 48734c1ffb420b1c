"""Checks of arguments, made before anything is computed. An error names the argument, the value and what was expected."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import torch
from torch import Tensor


def check_sizes(**sizes: int) -> None:
    """Each size is a whole number of at least 1.

    Raises:
        TypeError: for anything but a whole number.
        ValueError: for a number below 1.
    """
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise TypeError(f"{name} should be a whole number, got {size!r}")
        if size < 1:
            raise ValueError(f"{name} should be at least 1, got {size}")


def check_probability(name: str, value: float, below_one: bool) -> None:
    """A dropout probability is in [0, 1], or in [0, 1) if the values that are kept are scaled by 1/(1 − p)."""
    interval = "[0, 1)" if below_one else "[0, 1]"
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} should be a number in {interval}, got {value!r}")
    if not 0 <= value <= 1 or (below_one and value == 1):
        raise ValueError(f"{name} should lie in {interval}, got {value}")


def check_positive(name: str, value: float) -> None:
    """The value is a finite number greater than 0."""
    if isinstance(value, Real) and not value > 0:
        raise ValueError(f"{name} should be greater than 0, got {value}")
    check_finite(name, value)


def check_finite(name: str, value: float) -> None:
    """The value is a finite number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} should be a number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} should be finite, got {value}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """The value is one of the choices.

    Raises:
        ValueError: listing the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} should be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_floating(dtype: torch.dtype | None) -> None:
    """Networks are made of real floating point numbers, of at least 16 bits."""
    if dtype is None:
        return
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point or dtype.itemsize < 2:
        raise TypeError(f"dtype should be a floating point dtype, got {dtype!r}")


def check_like(name: str, tensor: Tensor, weight: Tensor) -> None:
    """The tensor has the device and dtype of the weight; under autocast, which casts all but float64, a dtype that it casts."""
    if tensor.device != weight.device:
        raise ValueError(f"{name} is on device {tensor.device}, but the network's weights are on {weight.device}")
    if tensor.dtype == weight.dtype:
        return
    castable = tensor.is_floating_point() and torch.float64 not in (tensor.dtype, weight.dtype)
    if not (castable and torch.is_autocast_enabled(weight.device.type)):
        raise ValueError(f"{name} has dtype {tensor.dtype}, but the network's weights have {weight.dtype}")


def check_input(x: object, size: int, dims: dict[int, str], weight: Tensor) -> None:
    """The input is a tensor of one of the given numbers of dimensions, `size` wide, with the device and dtype of the weight.

    dims: the accepted numbers of dimensions, each with its shape in words, e.g. {2: "(batch, input_size)"}.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"input should be a tensor, got {type(x).__name__}")
    if x.dim() not in dims:
        raise ValueError(f"input should have shape {' or '.join(dims.values())}, got {tuple(x.shape)}")
    if x.shape[-1] != size:
        expected = " or ".join(dims.values())
        raise ValueError(f"input should have shape {expected} with input_size {size}, got {tuple(x.shape)}")
    check_like("input", x, weight)


def check_state(
    state: Sequence[Tensor], names: Sequence[str], shapes: Sequence[tuple[int, ...]], weight: Tensor
) -> None:
    """The state has one tensor for each name, of the given shape, with the device and dtype of the weight."""
    if len(state) != len(names):
        raise ValueError(f"state should hold {len(names)} tensors ({', '.join(names)}), got {len(state)}")
    dtype, device = weight.dtype, weight.device
    for name, tensor, shape in zip(names, state, shapes, strict=True):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"state.{name} should be a tensor, got {type(tensor).__name__}")
        if tensor.shape != shape:
            raise ValueError(f"state.{name} should have shape {shape}, got {tuple(tensor.shape)}")
        if tensor.dtype is not dtype or tensor.device != device:
            check_like(f"state.{name}", tensor, weight)
