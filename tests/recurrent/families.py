"""The recurrent networks, each at a tiny odd size, and what their tests share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypernetworks.recurrent import families

I, H, K, Z = 3, 5, 4, 2
EPS = 1e-2
"""Large enough to be seen where it is left out."""


@dataclass(frozen=True)
class Family:
    """A network, its cell, and the arguments that both take."""

    name: str
    network_type: Callable[..., nn.Module]
    cell_type: Callable[..., nn.Module]
    state_type: type | None
    is_hyper: bool
    options: dict[str, Any] = field(default_factory=dict)

    def network(self, input_size=I, hidden_size=H, num_layers=1, dtype=torch.float64, **others) -> Any:
        """A network whose parameters are all random: nothing is zero, one or constant."""
        return randomise(self.network_type(input_size, hidden_size, num_layers, dtype=dtype, **self.options, **others))

    def cell(self, dtype=torch.float64, **others) -> Any:
        return randomise(self.cell_type(I, H, dtype=dtype, **self.options, **others))

    def state(self, *leading: int, dtype=torch.float64) -> Any:
        """A random state; a bare tensor for GRU, RNN and RHN."""
        if self.state_type is None:
            return torch.randn(*leading, H, dtype=dtype)
        sizes = [K if name.startswith("hyper") else H for name in self.state_type._fields]
        return self.state_type(*(torch.randn(*leading, size, dtype=dtype) for size in sizes))


SIZES = {"hyper_size": K, "hyper_embedding_size": Z}
"""The sizes of a hyper cell."""
DEPTH = {"rhn": 3, "hyper-rhn": 2}
WITHOUT_NORM = {"hyper-gru": "hyper-gru-without-norm", "hyper-rnn": "hyper-rnn-without-norm"}
"""Networks whose variant without norm has no name in the registry, and its name here."""


def _family(registered: families.Family, name: str = "", **others: Any) -> Family:
    """A family of the registry at a tiny size; under another name where it has other arguments."""
    sizes = SIZES | {"depth": DEPTH.get(registered.name)}
    options = {**registered.settings, **{taken: sizes[taken] for taken in registered.takes}, **others}
    cell_type = registered.network.cell_type
    if registered.is_hyper or options.get("layer_norm"):
        options["layer_norm_eps"] = EPS
    return Family(
        name or registered.name, registered.network, cell_type, cell_type.state_type, registered.is_hyper, options
    )


FAMILIES = {name: _family(registered) for name, registered in families.FAMILIES.items()} | {
    other: _family(families.FAMILIES[name], other, layer_norm=False) for name, other in WITHOUT_NORM.items()
}
HYPER_FAMILIES = {name: family for name, family in FAMILIES.items() if family.is_hyper}

all_families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
hyper_families = pytest.mark.parametrize("family", HYPER_FAMILIES.values(), ids=HYPER_FAMILIES.keys())


@torch.no_grad()
def randomise(network: nn.Module) -> nn.Module:
    """Fill every parameter with random numbers of about the size that it starts with."""
    for parameter in network.parameters():
        parameter.normal_(std=0.6)
    return network


def tensors(state: Any) -> tuple[Tensor, ...]:
    """The tensors of a state, also where it is a bare one."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


def close(ours: Any, theirs: Any, tol: float = 1e-10) -> None:
    """Each tensor has the same shape and dtype, and max|a − b| ≤ tol · max(1, max|b|)."""
    ours, theirs = tensors(ours), tensors(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if a.numel():
            error = (a - b).abs().max().item()
            assert error <= tol * max(1.0, b.abs().max().item()), error


def gradients(outputs: Any, cotangents: Any, inputs: Any) -> tuple[Tensor, ...]:
    """The gradients of Σ outputs ⊙ cotangents; an input that has none is an error."""
    return torch.autograd.grad(tensors(outputs), tensors(inputs), tensors(cotangents))


def random_like(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.randn_like(output) for output in tensors(outputs))
