"""How a layer stores its matrix or kernel: where its outputs are, and its fans.

    layer                                    stored as                 rows of the matrix (n_out, n_in / g · Π f)
    Linear, convolutions, and most others    (n_out, n_in / g, *f)     as stored
    transposed convolutions                  (n_in, n_out / g, *f)     inputs first
    types declared by `outputs_last`         (n_in, n_out)             inputs first

    fans, per dimension of a field f with stride s      n_in           n_out
    convolution                                         n_in / g · f   n_out / g · f / s
    transposed convolution                              n_in / g · f / s   n_out / g · f

n_in is the number of inputs that one output depends on, and n_out that of outputs that one input affects. With a stride they
differ from one place to the next; the fan is their average. A dilation does not change them. g groups.
"""

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=type[nn.Module])

_OUTPUTS_LAST: set[type[nn.Module]] = set()
_OUTPUTS_LAST_BY_NAME = {("transformers.pytorch_utils", "Conv1D")}
"""Types of other packages, by module and name, so that they need not be imported."""


def outputs_last(layer: Layer) -> Layer:
    """Declare that layers of this type, and of types derived from it, store their weight as (n_in, n_out).

    Rows then are outputs in `RowScaleGenerator` and `LowRankGenerator`, and the fans of initialisation are right. torch's own
    layers and `transformers.pytorch_utils.Conv1D`, GPT-2's, are known.

    Args:
        layer: a subclass of torch.nn.Module.

    Returns:
        The type itself, so that this function can decorate it.

    Raises:
        TypeError: for anything but a module type.

    Example:
        >>> @hn.outputs_last
        ... class Project(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.weight = torch.nn.Parameter(torch.randn(30, 20))
        ...     def forward(self, x):
        ...         return x @ self.weight
        >>> net = hn.HyperNetwork(Project(), hn.RowScaleGenerator(8))
        >>> net.generator.rows                                          # one scale for each output
        [20]
    """
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise TypeError(f"outputs_last expects a subclass of torch.nn.Module, got {layer!r}")
    _OUTPUTS_LAST.add(layer)
    return layer


class Storage(NamedTuple):
    """How the matrix (n_out, rest) of a layer is stored. `lead` below is (), or (B,) for one matrix per sample."""

    inputs_first: bool = False
    """Whether it is stored as (n_in, n_out / groups, *f) instead of (n_out, n_in / groups, *f)."""
    groups: int = 1
    """Of a transposed convolution. Those of a convolution need no rearrangement."""

    def rows(self, shape: torch.Size) -> int:
        """n_out; 1 for a scalar."""
        if self.inputs_first:
            return shape[1] * self.groups
        return shape[0] if shape else 1

    def rest(self, shape: torch.Size) -> int:
        """The numbers in one row."""
        return math.prod(shape) // self.rows(shape)

    def stored(self, matrix: Tensor, shape: torch.Size) -> Tensor:
        """A matrix (*lead, n_out, rest) as the layer stores it: (*lead, *shape)."""
        lead = matrix.shape[:-2]
        if self.inputs_first:
            # (g, n_out / g, n_in / g, Π f) -> (g, n_in / g, n_out / g, Π f)
            g, field = self.groups, math.prod(shape[2:])
            matrix = matrix.reshape(*lead, g, shape[1], shape[0] // g, field).transpose(-3, -2)
        return matrix.reshape(*lead, *shape)

    def along_rows(self, d: Tensor, shape: torch.Size) -> Tensor:
        """Numbers (*lead, n_out), one per row, in a shape that multiplies a stored tensor (*lead, *shape)."""
        lead, ones = d.shape[:-1], (1,) * (len(shape) - 1)
        if not self.inputs_first:
            return d.reshape(*lead, *(d.shape[-1:] if shape else ()), *ones)
        g, field = self.groups, ones[1:]
        if g == 1:
            return d.reshape(*lead, 1, shape[1], *field)
        d = d.reshape(*lead, g, 1, shape[1]).expand(*lead, g, shape[0] // g, shape[1])
        return d.reshape(*lead, shape[0], shape[1], *field)


def storage_of(module: nn.Module) -> Storage:
    """How a layer stores its matrix or kernel."""
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return Storage(inputs_first=True, groups=module.groups)
    return Storage(inputs_first=any(_declared(base) for base in type(module).__mro__))


def fans(module: nn.Module, weight: Tensor) -> tuple[float, float]:
    """n_in and n_out of the layer that has this matrix or kernel.

    Matrices that are stacked, such as the gates of a recurrent network and in_proj_weight of torch.nn.MultiheadAttention, count
    as one: an input affects the outputs of all of them. torch.nn.Bilinear has n_in = n_1 n_2 and the n_out of its first input.
    """
    field = math.prod(weight.shape[2:])
    stride = math.prod(module.stride) if isinstance(module, nn.modules.conv._ConvNd) else 1
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return weight.shape[0] / module.groups * field / stride, weight.shape[1] * field
    if isinstance(module, nn.modules.conv._ConvNd):
        return weight.shape[1] * field, weight.shape[0] / module.groups * field / stride
    first, second = (1, 0) if storage_of(module).inputs_first else (0, 1)
    return weight.shape[second] * field, weight.shape[first] * field


def _declared(layer: type) -> bool:
    return layer in _OUTPUTS_LAST or (layer.__module__, layer.__name__) in _OUTPUTS_LAST_BY_NAME
