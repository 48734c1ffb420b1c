"""The products have exactly the FLOPs of the network."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import hypernetworks as hn
from hypernetworks.bench.case import make_case
from hypernetworks.bench.products import Products, backward_products, flops, forward_products, lstm_products
from hypernetworks.bench.sizes import Size

SIZE = Size("odd", T=4, B=3, I=5, H=7, K=11, Z=2)


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("quantity", ["forward", "training"])
def test_they_take_the_operations_that_they_tell(quantity) -> None:
    products = Products(SIZE)
    assert counted(lambda: products.run(quantity)) == products.flops[quantity] > 0


def test_they_are_the_operations_of_the_reference_path() -> None:
    case = make_case("hyper-lstm", SIZE)
    products = Products(SIZE)
    sizes = case.module.cell(0).state_sizes
    state = tuple(torch.zeros(1, SIZE.B, n, requires_grad=True) for n in sizes)  # else its products have no backward

    def train() -> None:
        output, _ = case.module(case.x, state)
        output.backward(case.cotangent)

    with hn.use_backend("reference"):
        with torch.no_grad():
            assert counted(lambda: case.module(case.x, state)) == products.flops["forward"]
        assert counted(train) == products.flops["training"]


def test_backward_has_two_products_for_each_of_forward() -> None:
    forward = forward_products(SIZE)
    backward = backward_products(forward, SIZE.T * SIZE.B)
    assert sum(p.flops for p in backward) == 2 * sum(p.flops for p in forward)
    assert all(p.times == 1 for p in backward[len(forward) :])  # the weights' gradients wait for the end


def test_a_plain_lstm_has_the_operations_of_its_reference_path() -> None:
    case = make_case("lstm", SIZE)
    with hn.use_backend("reference"), torch.no_grad():
        counted_of_lstm = counted(lambda: case.module(case.x, case.module(case.x)[1])) // 2
    assert counted_of_lstm == flops(lstm_products(SIZE), SIZE)["forward"]


@pytest.mark.parametrize(
    ("size", "times"),
    [
        (Size("small", 128, 32, 256, 256, 64, 16), 1.40),
        (Size("labml", 512, 2, 512, 512, 16, 16), 1.08),
        (Size("ptb", 100, 128, 128, 1000, 128, 16), 1.19),
    ],
)
def test_hyper_lstm_has_so_many_times_the_operations(size, times) -> None:
    hyper, plain = flops(forward_products(size), size), flops(lstm_products(size), size)
    assert hyper["training"] / plain["training"] == pytest.approx(times, abs=0.005)
