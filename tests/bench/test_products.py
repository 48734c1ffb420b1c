"""The products alone are those of the network, no more and no less."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import hypernetworks as hn
from hypernetworks.bench.contender import make_problem
from hypernetworks.bench.products import Products, backward_products, forward_products
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
    problem = make_problem("hyper-lstm", SIZE)
    products = Products(SIZE)
    sizes = problem.ours.cell(0).state_sizes
    state = tuple(torch.zeros(1, SIZE.B, n, requires_grad=True) for n in sizes)  # else its products have no backward

    def train() -> None:
        output, _ = problem.ours(problem.x, state)
        output.backward(problem.cotangent)

    with hn.use_backend("reference"):
        with torch.no_grad():
            assert counted(lambda: problem.ours(problem.x, state)) == products.flops["forward"]
        assert counted(train) == products.flops["training"]


def test_backward_has_two_products_for_each_of_forward() -> None:
    forward, backward = forward_products(SIZE), backward_products(SIZE)
    assert sum(p.flops for p in backward) == 2 * sum(p.flops for p in forward)
    assert all(p.times == 1 for p in backward[len(forward) :])  # the weights' gradients wait for the end
