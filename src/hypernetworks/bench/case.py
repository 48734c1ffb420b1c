"""A benchmark case: a network of this package at one size, its input, and the gradient of its output."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from hypernetworks.bench.sizes import Size
from hypernetworks.experiments.networks import NetworkName
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.recurrent.layer import RecurrentNetwork

SEED = 0


class Case(NamedTuple):
    """A network with its default initialisation, an input (T, B, I) and a cotangent (T, B, H)."""

    network: NetworkName
    size: Size
    module: RecurrentNetwork[Any]
    x: Tensor
    cotangent: Tensor

    def double(self) -> "Case":
        """The same numbers in float64."""
        module = make_module(self.network, self.size).double()
        module.load_state_dict(self.module.state_dict())
        x = self.x.detach().double().requires_grad_()
        return self._replace(module=module, x=x, cotangent=self.cotangent.double())


def settings_of(network: NetworkName, size: Size) -> dict[str, Any]:
    """The arguments of the network's class for this size."""
    family = FAMILIES[network]
    sizes = {"hyper_size": size.K, "hyper_embedding_size": size.Z}
    taken = {name: value for name, value in sizes.items() if name in family.takes}
    return {"input_size": size.I, "hidden_size": size.H, **family.settings, **taken}


def make_module(network: NetworkName, size: Size) -> RecurrentNetwork[Any]:
    """Make a network of this size in float32."""
    return FAMILIES[network].network(**settings_of(network, size))


def make_case(network: NetworkName, size: Size) -> Case:
    """Make a case. Every call gives the same numbers."""
    torch.manual_seed(SEED)
    module = make_module(network, size)
    x = torch.randn(size.T, size.B, size.I, requires_grad=True)
    return Case(network, size, module, x, torch.randn(size.T, size.B, size.H))
