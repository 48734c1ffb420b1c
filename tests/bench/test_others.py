"""Other implementations compute what ours computes, and a difference is noticed."""

import pytest
import torch

from hypernetworks.bench.case import make_case
from hypernetworks.bench.implementation import Implementation, our_network
from hypernetworks.bench.implementations import MAKERS
from hypernetworks.bench.parity import check
from hypernetworks.bench.sizes import Size

SIZES = {"odd": Size("odd", T=5, B=3, I=6, H=7, K=4, Z=2), "one": Size("one", T=1, B=1, I=3, H=5, K=2, Z=1)}
MODULES = {"labml_nn": "labml_nn", "labml_nn cell": "labml_nn", "jax": "jax"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODULES)
def test_they_are_equal_in_output_state_and_gradients(name: str, size: str) -> None:
    pytest.importorskip(MODULES[name])
    case = make_case("hyper-lstm", SIZES[size])
    with torch.no_grad():  # nothing is zero or one, else what depends on it would not be compared
        for parameter in case.module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    implementations: dict[str, Implementation] = {"reference": our_network(case, "reference"), name: MAKERS[name](case)}
    for quantity in ("generation",) if name.endswith("cell") else ("forward", "training", "generation"):
        if quantity == "generation" and size != "one":
            continue
        verdict = check(case, implementations, quantity)[name]
        assert verdict.refusal is None
        assert verdict.difference is not None
        assert verdict.difference < 1e-5


@pytest.mark.parametrize("name", ["labml_nn", "jax"])
def test_a_wrong_weight_shows(name: str) -> None:
    pytest.importorskip(MODULES[name])
    case = make_case("hyper-lstm", SIZES["odd"])
    implementation = MAKERS[name](case)
    reference = our_network(case, "reference")
    with torch.no_grad():
        case.module.cell(0).get_parameter("hyper.p")[-1] += 0.1
    verdict = check(case, {"reference": reference, name: implementation}, "forward")[name]
    assert verdict.refusal is not None
