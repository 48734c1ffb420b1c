"""torch's random numbers, to be drawn again after an attempt that failed."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class RandomNumbers:
    """The generators of the CPU and of every CUDA device among the arguments, as they are now."""

    def __init__(self, leaves: Sequence[Any]) -> None:
        devices = {leaf.device for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_cuda}
        of_devices = [torch.cuda.default_generators[device.index] for device in devices]
        self.generators: list[torch.Generator] = [torch.default_generator, *of_devices]
        self._states = self.states()

    def states(self) -> list[Tensor]:
        """The states of the generators, in the same order."""
        return [generator.get_state() for generator in self.generators]

    def restore(self) -> None:
        """Put the generators back to where they were."""
        for generator, state in zip(self.generators, self._states, strict=True):
            generator.set_state(state)
