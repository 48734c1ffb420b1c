"""FLOPs extrapolated from two short counts equal those counted at the size itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import hypernetworks as hn
from hypernetworks.bench.case import make_case
from hypernetworks.bench.flops import flops_over_lstm, network_flops
from hypernetworks.bench.sizes import Quantity, Size
from hypernetworks.recurrent.families import FAMILIES

SIZE = Size("odd", T=5, B=3, I=4, H=7, K=6, Z=2)


@pytest.mark.parametrize("network", FAMILIES)
@pytest.mark.parametrize("quantity", ["forward", "training"])
def test_they_are_those_of_the_whole_sequence(network: str, quantity: Quantity) -> None:
    case = make_case(network, SIZE)
    cell = case.module.cell(0)
    state = cell.named_state([torch.zeros(1, SIZE.B, n, requires_grad=True) for n in cell.state_sizes])
    with hn.use_backend("reference"), FlopCounterMode(display=False) as counter:
        output, _ = case.module(case.x, state)
        if quantity == "training":
            output.backward(case.cotangent)
    assert network_flops(network, SIZE, quantity) == counter.get_total_flops() > 0


@pytest.mark.parametrize("quantity", ["forward", "training"])
def test_an_lstm_has_those_of_nn_lstm(quantity: Quantity) -> None:
    assert flops_over_lstm("lstm", SIZE, quantity) == 1
