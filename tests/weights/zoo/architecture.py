"""An architecture of the matrix: how to make it small, and its inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...optional import optional

B = 3
"""Samples."""


@dataclass(frozen=True)
class Architecture:
    """A network with a small configuration and random numbers."""

    name: str
    library: str
    make: Callable[..., nn.Module]
    """Makes it, given the module of the library's models; torch's own need none."""
    inputs: dict[str, Any]
    """Of each argument, the shape for one sample: a list for numbers of tokens, a tuple for real numbers."""
    part: tuple[str, ...] = ("*",)
    """Globs over names of parameters: the part of it from which parameters are generated."""
    alone: tuple[str, ...] = ()
    """Globs over parameters that cannot be generated for each sample: tables that all samples look up at the same places, whose
    rows are then rearranged, in a target that cannot run under torch.func.vmap."""
    autocasts: bool = True
    """Whether it runs per sample under autocast in bfloat16 on the CPU."""
    vocabulary: int = 0
    mask: str = ""
    """The argument that takes a mask of padding, of the shape of the first argument; "" for none."""
    dim: int = 0
    """Where the samples are, if not in dimension 0."""
    checkpointed: Callable[..., nn.Module] | None = None
    """Makes it with gradient checkpointing, if no method turns that on."""
    differentiable: bool = True
    """Whether its inputs may require gradients."""
    loose: str = ""
    """Why it computes in float32 in a network of float64; "" if it does not."""

    def build(self, checkpointed: bool = False) -> nn.Module:
        """Make it in float64, with noise on all parameters, so that none is zero or one."""
        make = (self.checkpointed if checkpointed else None) or self.make
        model = (make() if self.library == "torch" else make(library(self.library))).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model

    def can_checkpoint(self, model: nn.Module) -> bool:
        """Whether it has gradient checkpointing."""
        return bool(
            self.checkpointed
            or getattr(model, "supports_gradient_checkpointing", False)
            or getattr(model, "set_grad_checkpointing", None)
        )

    def checkpoint(self, model: nn.Module) -> nn.Module:
        """Turn its gradient checkpointing on."""
        if self.checkpointed:
            checkpointed = self.build(checkpointed=True)
            checkpointed.load_state_dict(model.state_dict())
            return checkpointed
        if hasattr(model, "set_grad_checkpointing"):
            model.set_grad_checkpointing()
        else:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model

    def batch(self, masked: bool) -> dict[str, Any]:
        """Inputs for B samples, with other lengths of each sample if `masked`."""
        given: dict[str, Any] = {}
        for name, shape in self.inputs.items():
            shape = list(shape[:]) if isinstance(shape, list) else shape
            size = (*shape[: self.dim], B, *shape[self.dim :])
            tokens = isinstance(shape, list)
            given[name] = torch.randint(3, self.vocabulary, size) if tokens else torch.randn(size, dtype=torch.float64)
        if masked and self.mask:
            length = next(iter(self.inputs.values()))[0]
            mask = torch.ones(B, length, dtype=torch.long)
            mask[1, length - 1 :] = mask[2, length - 2 :] = 0
            given[self.mask] = mask
        return given

    def one(self, given: dict[str, Any], n: int) -> dict[str, Any]:
        """The inputs of sample n, as a batch of one."""
        return {
            name: value.narrow(self.dim, n, 1) if isinstance(value, Tensor) else value for name, value in given.items()
        }


def library(name: str) -> Any:
    """The module with the models of a library, or skip the test."""
    module = optional(name)
    return module.models if name == "torchvision" else module
