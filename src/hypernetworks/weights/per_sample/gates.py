"""Opens what is closed by a zero in the copies of a target that a probe runs.

A parameter or buffer of zeros hides what it multiplies: with h + g · mean(h) and g = 0, as residual branches and scales of
layers often start, samples are mixed without any effect on the activations, but the gradient of g is that of the mixture. So a
probe runs with small random numbers in place of such tensors.
"""

import torch
from torch import Tensor, nn

from hypernetworks.weights.per_sample.slots import Slot

_SIZE = 0.1


class Gates:
    """Opens the gates of all copies of a target in the same way."""

    def __init__(self) -> None:
        self._opened: dict[tuple[int, str], Tensor | None] = {}
        """What stands in place of zeros, by the number of the module and the name in it; None: the tensor stays."""
        self._generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def open(self, copied: nn.Module) -> None:
        """Give a copy of the target small random numbers for every parameter and buffer of zeros."""
        of_tensors: dict[int, Tensor | None] = {}
        for number, module in enumerate(copied.modules()):
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None or isinstance(tensor, Slot) or not tensor.is_floating_point():
                        continue
                    place = number, name
                    if place not in self._opened:
                        if id(tensor) not in of_tensors:  # tied tensors stay tied
                            of_tensors[id(tensor)] = self._instead(tensor)
                        self._opened[place] = of_tensors[id(tensor)]
                    other = self._opened[place]
                    if other is not None:
                        tensors[name] = other.clone() if tensors is module._buffers else other  # pyright: ignore

    def _instead(self, tensor: Tensor) -> Tensor | None:
        """Random numbers for zeros."""
        if tensor.any():
            return None
        other = (_SIZE * torch.randn(tensor.shape, generator=self._generator)).to(tensor)
        return nn.Parameter(other, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else other
