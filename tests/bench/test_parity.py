"""The check before every measurement: what it accepts and what it refuses."""

import pytest
import torch

from hypernetworks.bench.case import make_case
from hypernetworks.bench.implementation import Implementation, our_network
from hypernetworks.bench.parity import ROUNDING, check, distance, judge
from hypernetworks.bench.sizes import QUANTITIES, Size
from hypernetworks.recurrent.families import FAMILIES

TINY = Size("tiny", T=5, B=2, I=3, H=4, K=3, Z=2)


def test_distance_is_relative_to_large_tensors_only() -> None:
    assert distance(torch.tensor([0.1, 0.2]), torch.tensor([0.1, 0.5])) == pytest.approx(0.3)
    assert distance(torch.tensor([100.0, 0.0]), torch.tensor([100.0, 3.0])) == pytest.approx(0.03)
    assert distance(torch.tensor([float("nan")]), torch.tensor([1.0])) != distance(torch.ones(1), torch.ones(1))


def named(*values: float) -> dict[str, torch.Tensor]:
    return {"output": torch.tensor(values)}


def test_within_the_tolerance_the_exact_values_are_not_asked_for() -> None:
    assert judge(named(1.0), named(1.0 + 9e-6), {}, 1e-5).refusal is None


def test_beyond_it_a_path_may_be_as_wrong_as_float32_itself_and_not_more() -> None:
    reference, exact = named(1.00002), named(1.0)
    allowed = ROUNDING * distance(reference["output"], exact["output"])
    verdict = judge(named(1 - 0.9 * allowed), reference, exact, 1e-5)
    assert verdict.refusal is None
    assert verdict.difference == pytest.approx(2e-5 + 0.9 * allowed, rel=0.02)
    assert "output differs from float64 by" in (judge(named(1 - 1.1 * allowed), reference, exact, 1e-5).refusal or "")


def test_an_exact_reference_allows_the_tolerance_alone() -> None:
    assert judge(named(1 + 1.2e-5), named(1.0), named(1.0), 1e-5).refusal is not None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused_also_where_the_reference_has_it(value: float) -> None:
    assert judge(named(value), named(1.0), named(1.0), 1e-5).refusal is not None
    assert judge(named(value), named(value), named(value), 1e-5).refusal is not None


def test_shapes_and_names_count() -> None:
    assert judge(named(1.0, 1.0), named(1.0), {}, 1e-5).refusal == "output has shape (2,), expected (1,)"
    more = named(1.0) | {"state": torch.zeros(1)}
    assert judge(more, named(1.0), {}, 1e-5).refusal == "state is unknown to the reference"
    assert judge(named(1.0), more, {}, 1e-5).refusal == "state is missing"


@pytest.mark.parametrize("network", FAMILIES)
def test_a_network_in_float64_is_the_same_network(network) -> None:
    """With a tolerance of 0, float32 is compared with float64."""
    case = make_case(network, TINY)
    strict = our_network(case, "reference")
    strict.tolerance = 0.0
    implementations: dict[str, Implementation] = {"reference": our_network(case, "reference"), "again": strict}
    verdicts = check(case, implementations, "training")
    assert [verdict.refusal for verdict in verdicts.values()] == [None, None]
    near = our_network(case, "reference").results("training")
    exact = our_network(case.double(), "reference").results("training")
    assert near.keys() == exact.keys()
    assert all(tensor.dtype == torch.float64 for tensor in exact.values())
    assert 0 < max(distance(near[name], exact[name]) for name in near) < 1e-5


def test_other_weights_are_noticed_in_every_quantity() -> None:
    case = make_case("hyper-lstm", TINY)
    other = case.double()
    other.module.float().load_state_dict(case.module.state_dict())
    with torch.no_grad():
        next(iter(other.module.parameters())).view(-1)[0] += 1e-2
    implementations: dict[str, Implementation] = {
        "reference": our_network(case, "reference"),
        "other": our_network(case._replace(module=other.module), "reference"),
    }
    for quantity in QUANTITIES:
        assert check(case, implementations, quantity)["other"].refusal is not None


def test_where_the_reference_fails_nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case("lstm", TINY)
    implementations: dict[str, Implementation] = {
        "reference": our_network(case, "reference"),
        "native": our_network(case, "native"),
    }

    def fail(quantity: str) -> None:
        raise RuntimeError("no memory left")

    monkeypatch.setattr(implementations["reference"], "run", fail)
    verdicts = check(case, implementations, "forward")
    assert {verdict.refusal for verdict in verdicts.values()} == {"the reference path failed: no memory left"}


def test_generation_carries_its_state() -> None:
    """Eight steps of one row are eight steps of one sequence."""
    case = make_case("hyper-lstm", TINY._replace(T=1, B=1))
    generated = our_network(case, "reference").results("generation")
    with torch.no_grad():
        output, state = case.module(case.x.expand(8, 1, 3))
    torch.testing.assert_close(generated["output"], output[-1])
    torch.testing.assert_close(generated["final state 3"], state[3][0])
