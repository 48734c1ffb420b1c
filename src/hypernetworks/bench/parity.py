"""No measurement without this: an implementation's outputs, final state and gradients are those of the reference path.

For each tensor max|a − b| ≤ tolerance · max(1, max|b|), in float32, b the reference path's: 1e-5 for our own paths.

Over a hundred steps of a thousand units that sum in two different orders, float32 itself may be farther apart: at the size
`ptb` the reference path is 2e-5 from its own float64 run, in the outputs of a layer-normalised network. Where a tensor is
beyond the tolerance both are held to the float64 run, and the tensor may be as far from it as the tolerance, or as four times
the float32 reference, whichever is more: as precise as the reference but for its luck. (Measured: native paths are at most
2.4 times as far.) A mistake in a formula shows at the smaller sizes too, where 1e-5 alone decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from hypernetworks.bench.implementation import Case, Implementation, NamedTensors, our_network
from hypernetworks.bench.sizes import Quantity

ROUNDING = 4.0
"""How many times as far from float64 as the reference another order of sums may be, in float32."""


class Verdict(NamedTuple):
    """What the check found: the largest difference, and why there is no measurement, if so."""

    difference: float | None = None
    refusal: str | None = None


def distance(a: Tensor, b: Tensor) -> float:
    """max|a − b| / max(1, max|b|); not a number where either is not."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1)).item()


def check(case: Case, implementations: Mapping[str, Implementation], quantity: Quantity) -> dict[str, Verdict]:
    """A verdict on each implementation's numbers for a quantity; all have run it at least once then. One is `reference`."""
    try:
        reference = implementations["reference"].results(quantity)
    except RuntimeError as error:
        return dict.fromkeys(implementations, Verdict(refusal=f"the reference path failed: {_first_line(error)}"))
    exact: NamedTensors = {}
    verdicts = {}
    for name, implementation in implementations.items():
        try:
            given = reference if name == "reference" else implementation.results(quantity)
        except RuntimeError as error:
            # the kernel, the compiler or the allocator failed; the others can be measured all the same
            verdicts[name] = Verdict(refusal=f"failed: {_first_line(error)}")
            continue
        if implementation.tolerance is None:
            verdicts[name] = Verdict()
            continue
        if not exact and _over(given, reference, implementation.tolerance):
            exact = our_network(case.double(), "reference").results(quantity)
        verdicts[name] = judge(given, reference, exact, implementation.tolerance)
    return verdicts


def judge(given: NamedTensors, reference: NamedTensors, exact: NamedTensors, tolerance: float) -> Verdict:
    """The verdict on tensors, given the reference's, and their float64 values where the tolerance is exceeded."""
    if wrong := _misshapen(given, reference):
        return Verdict(refusal=wrong)
    differences = {name: distance(given[name], reference[name]) for name in reference}
    largest = max(differences.values(), key=lambda value: (value != value, value))
    for name in _over(given, reference, tolerance):
        allowed = max(tolerance, ROUNDING * distance(reference[name], exact[name]))
        error = distance(given[name], exact[name])
        if not error <= allowed:
            return Verdict(largest, f"{name} differs from float64 by {error:.1e}, allowed is {allowed:.1e}")
    return Verdict(largest)


def _over(given: NamedTensors, reference: NamedTensors, tolerance: float) -> list[str]:
    """The tensors that are farther from the reference than the tolerance; none where they cannot be compared."""
    if _misshapen(given, reference):
        return []
    return [name for name in reference if not distance(given[name], reference[name]) <= tolerance]


def _misshapen(given: NamedTensors, reference: NamedTensors) -> str | None:
    """What is missing, superfluous or of another shape."""
    if differing := given.keys() ^ reference.keys():
        return f"{min(differing)} is {'missing' if min(differing) in reference else 'unknown to the reference'}"
    for name, tensor in reference.items():
        if given[name].shape != tensor.shape:
            return f"{name} has shape {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
