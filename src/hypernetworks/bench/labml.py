"""labml_nn's HyperLSTM (version 0.5.1) with the weights of our HyperLSTM."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import TorchImplementation
from hypernetworks.interop import hyper_lstm_from_labml

TOLERANCE = 1e-4
"""Looser than between our own paths: the order of summation differs, in float32."""


def is_installed() -> bool:
    """Whether labml_nn can be imported."""
    return find_spec("labml_nn") is not None


def network_like(case: Case) -> nn.Module:
    """Their network with the weights of `case.module`."""
    from labml_nn.hypernetworks.hyper_lstm import HyperLSTM  # pyright: ignore[reportMissingImports]

    size = case.size
    theirs = HyperLSTM(size.I, size.H, size.K, size.Z, 1)
    theirs.load_state_dict(_with_their_names(theirs.state_dict(), dict(case.module.named_parameters())))
    return theirs


def _with_their_names(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert our parameters to theirs: the inverse of the conversion from theirs to ours.

    That conversion only moves elements. Applied to consecutive numbers, it shows where every element comes from.
    """
    lengths = [tensor.numel() for tensor in theirs.values()]
    numbers = torch.arange(sum(lengths), dtype=torch.float64).split(lengths)  # integers up to 2^53 are exact
    indices = {name: part.view_as(theirs[name]) for (name, part) in zip(theirs, numbers, strict=True)}
    values = torch.empty(sum(lengths))
    for name, places in hyper_lstm_from_labml(indices).named_parameters():
        values[places.detach().long()] = ours[name].detach()
    return {name: part.view_as(theirs[name]) for (name, part) in zip(theirs, values.split(lengths), strict=True)}


def _our_names(gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gradients under our names; they are converted as the weights are."""
    return dict(hyper_lstm_from_labml(gradients).named_parameters())


def labml_network(case: Case) -> TorchImplementation:
    """Their network."""
    network = network_like(case)
    return TorchImplementation(
        "labml_nn",
        network,
        dict(network.named_parameters()),
        case.x,
        case.cotangent,
        tolerance=TOLERANCE,
        named_gradients=_our_names,
    )


def labml_cell(case: Case) -> TorchImplementation:
    """Their cell, which reads one (B, I)."""
    cell: Any = network_like(case).get_submodule("cells.0")
    zeros = tuple(torch.zeros(case.size.B, n) for n in case.module.cell(0).state_sizes)

    def call(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        state = cell(x, *(zeros if state is None else state))
        return state[0], state

    return TorchImplementation(
        "labml_nn cell",
        call,
        dict(cell.named_parameters()),
        case.x[0].detach(),
        case.cotangent,
        tolerance=TOLERANCE,
    )
