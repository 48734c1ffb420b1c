"""Floating-point operations of a network, counted by torch on its reference path, and those of nn.LSTM.

Every matrix product of a recurrent network has one row per time step and sequence, so the count is linear in T and in B:

    FLOPs(T, B) = B · (F_1 + (T − 1) · (F_2 − F_1))               F_1, F_2 counted at B = 1 and T = 1, 2
"""

import torch

import hypernetworks as hn
from hypernetworks.bench.case import make_case
from hypernetworks.bench.products import flops, lstm_products
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.experiments.networks import NetworkName


def network_flops(network: NetworkName, size: Size, quantity: Quantity) -> int:
    """Additions and multiplications of the matrix products of a forward pass or a training step."""
    first, second = (_counted(network, size._replace(T=T, B=1), quantity) for T in (1, 2))
    return size.B * (first + (size.T - 1) * (second - first))


def _counted(network: NetworkName, size: Size, quantity: Quantity) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # it imports triton, which delays the help of the command

    case = make_case(network, size)
    cell = case.module.cell(0)
    # Products with the initial state count in the backward pass too, as those with every other state do.
    state = cell.named_state([torch.zeros(1, size.B, n, requires_grad=True) for n in cell.state_sizes])
    training = quantity == "training"
    with hn.use_backend("reference"), torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
        output, _ = case.module(case.x, state)
        if training:
            output.backward(case.cotangent)
    return counter.get_total_flops()


def flops_over_lstm(network: NetworkName, size: Size, quantity: Quantity) -> float:
    """The FLOPs of a network divided by those of nn.LSTM of the same size."""
    return network_flops(network, size, quantity) / flops(lstm_products(size), size)[quantity]
