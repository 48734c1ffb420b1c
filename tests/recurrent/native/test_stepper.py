"""A stepper on the native path: bits, threads, and the storages of the big matrices."""

import pytest
import torch

import hypernetworks as hn

from ..families import FAMILIES
from ..test_stepper import reference, run, spread, worst
from .parity import native_families

STORAGES = ("bfloat16", "int8")


@pytest.fixture
def network():
    return spread(hn.HyperLSTM(19, 23, 2, hyper_size=5, hyper_embedding_size=3))


@pytest.fixture
def x():
    return torch.randn(5, 2, 19)


@native_families
def test_each_row_has_the_bits_that_it_has_alone(family):
    network = spread(family.network(35, 67, 2, dtype=torch.float32))
    x = torch.randn(4, 33, 35)
    for weights in ("float32", *STORAGES):
        together = run(network.stepper(33, weights), x)
        for rows in (slice(0, 1), slice(5, 6), slice(2, 5), slice(7, 14), slice(0, 32)):
            some = run(network.stepper(rows.stop - rows.start, weights), x[:, rows])
            for a, b in zip(some, together, strict=True):
                assert torch.equal(a, b[:, rows])


def test_the_bits_do_not_depend_on_threads():
    network = spread(hn.HyperLSTM(96, 96, 2, hyper_size=16))
    x = torch.randn(5, 2, 96)
    threads, answers = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            answers.append([run(network.stepper(2, weights), x) for weights in ("float32", *STORAGES)])
    finally:
        torch.set_num_threads(threads)
    for other in answers[1:]:
        for a, b in zip(other, answers[0], strict=True):
            assert all(torch.equal(*pair) for pair in zip(a, b, strict=True))


@pytest.mark.parametrize("name", ["lstm", "layer-norm-lstm", "hyper-lstm", "rhn"])
def test_rounded_weights_are_near(name):
    network = spread(FAMILIES[name].network(64, 96, 2, dtype=torch.float32))
    x = torch.randn(8, 3, 64)
    exact = reference(network, x)
    differences = [worst(run(network.stepper(3, weights), x), exact) for weights in STORAGES]
    assert min(differences) > 1e-5
    assert max(differences) < 0.1


@pytest.mark.parametrize(("weights", "bits"), [("bfloat16", 8), ("int8", 7)])
def test_weights_that_need_no_rounding_are_exact(weights, bits):
    """Each row holds whole numbers, of which the largest is the largest that int8 holds, times a power of 2."""
    network = hn.LSTM(40, 50, 2)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                whole = torch.randint(-(2**bits) + 1, 2**bits, parameter.shape).float()
                whole[:, 0] = 2**bits - 1
                parameter.copy_(whole * 2.0 ** torch.randint(-12, -8, (len(whole), 1)))
    x = torch.randn(4, 3, 40)
    # int8 rounds what meets the weights to 16 bits
    assert worst(run(network.stepper(3, weights), x), reference(network, x)) <= (
        1e-5 if weights == "bfloat16" else 2e-3
    )


def test_int8_keeps_rows_apart_that_are_of_different_sizes():
    network = hn.LSTM(64, 64)
    with torch.no_grad():
        network.cell(0).weight_x[::2] *= 1e-4
        network.cell(0).weight_x[1] = 0
    x = torch.randn(3, 2, 64)
    assert worst(run(network.stepper(2, "int8"), x), reference(network, x)) < 0.02


@pytest.mark.parametrize("weights", ["float32", *STORAGES])
def test_long_rows(weights):
    """More columns than an integer sum holds products."""
    network = hn.LSTM(9000, 4)
    x = torch.ones(2, 1, 9000)
    with torch.no_grad():
        network.cell(0).weight_x.fill_(1e-3 / 9)
    assert worst(run(network.stepper(1, weights), x), reference(network, x)) < 1e-2


@pytest.mark.parametrize("weights", ["float32", *STORAGES])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_number_stays_in_its_row(network, x, weights, bad):
    clean = run(network.stepper(2, weights), x)
    x[0, 1, 3] = bad
    dirty = run(network.stepper(2, weights), x)
    assert all(torch.equal(a[:, 0], b[:, 0]) for a, b in zip(clean, dirty, strict=True))
    assert dirty[0][:, 1].isnan().all()


def test_where_torch_would_not_see_it(network, x):
    step = network.stepper(2)
    with pytest.raises(RuntimeError, match="torch does not see it"), torch.autocast("cpu"):
        step(x[0])
    with pytest.raises(RuntimeError, match="torch does not see it"):
        torch.func.vmap(lambda _: step(x[0]))(torch.zeros(2))
