"""Taking arrays by name out of a mapping of another library, with an error for each that is missing or left over."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Names:
    """The arrays of a mapping, each to be taken once. Their dtype is kept.

    Args:
        arrays: names to tensors or numpy arrays, all of one floating dtype.
        source: the name of the mapping, for error messages.
    """

    def __init__(self, arrays: Mapping[str, Any], source: str) -> None:
        if not isinstance(arrays, Mapping):
            raise TypeError(f"{source} should be a mapping of names to arrays, got {type(arrays).__name__}")
        self.source = source
        self._left = {name: torch.as_tensor(array).detach() for name, array in arrays.items()}
        dtypes = sorted({str(tensor.dtype) for tensor in self._left.values()})
        if len(dtypes) != 1:
            raise ValueError(
                f"{source} should hold arrays of one floating dtype, got {', '.join(dtypes) or 'no arrays'}"
            )

    @property
    def made(self) -> dict[str, Any]:
        """Device and dtype for a network that takes these arrays."""
        some = next(iter(self._left.values()))
        return {"device": some.device, "dtype": some.dtype}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def count(self, pattern: str) -> int:
        """How many of pattern.format(0), pattern.format(1), … exist before the first that does not."""
        k = 0
        while pattern.format(k) in self._left:
            k += 1
        return k

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array that was not taken yet."""
        return tuple(self._get(name).shape)

    def take(self, name: str) -> Tensor:
        """Take an array.

        Raises:
            ValueError: if there is none of this name.
        """
        tensor = self._get(name)
        del self._left[name]
        return tensor

    def finish(self) -> None:
        """Check that every array was taken.

        Raises:
            ValueError: naming the arrays that are left.
        """
        if self._left:
            left = sorted(self._left)
            more = "" if len(left) <= 3 else f" and {len(left) - 3} more"
            raise ValueError(
                f"{self.source} holds names that do not belong to this network: {', '.join(left[:3])}{more}"
            )

    def _get(self, name: str) -> Tensor:
        if name not in self._left:
            raise ValueError(f"{self.source} should hold {name!r}, but does not")
        return self._left[name]


@torch.no_grad()
def fill(name: str, parameter: Tensor | None, value: Tensor) -> None:
    """Copy a value into a parameter of the same shape.

    Raises:
        ValueError: naming the parameter, if the shapes differ.
    """
    if parameter is None or parameter.shape != value.shape:
        expected = "no such parameter" if parameter is None else f"shape {tuple(parameter.shape)}"
        raise ValueError(f"{name}: got shape {tuple(value.shape)}, expected {expected}")
    parameter.copy_(value)


def fill_norm(name: str, norm: nn.Module | None, gain: Tensor, shift: Tensor) -> None:
    """Copy gain and shift into a LayerNorm of this package."""
    if norm is None:
        raise ValueError(f"{name}: got a layer norm, expected none")
    fill(f"{name} gain", norm.get_parameter("gain"), gain)
    fill(f"{name} shift", norm.get_parameter("shift"), shift)
