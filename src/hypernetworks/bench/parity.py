"""Parity: an implementation is measured only if its outputs, final state and gradients agree with the reference path.

For each tensor max|a − b| ≤ tolerance · max(1, max|b|), in float32, with b from the reference path. The tolerance of our own
paths is 1e-5.

Over a hundred steps of a thousand units, two orders of summation can differ by more than that in float32: at the size `ptb`
the reference path is 2e-5 from its own float64 run, in the outputs of a layer-normalised network. A tensor beyond the tolerance
is therefore compared with the float64 run. Its error may be as large as the tolerance or four times the error of the float32
reference, whichever is more. (Measured: the error of native paths is at most 2.4 times that of the reference.) A wrong formula
shows at the smaller sizes too, where the tolerance of 1e-5 alone decides.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import Implementation, NamedTensors, our_network
from hypernetworks.bench.sizes import Quantity

ROUNDING = 4.0
"""The largest error of another order of summation, as a multiple of the float32 reference's error."""


class Verdict(NamedTuple):
    """The result of a check: the largest difference, and the reason if the implementation is refused."""

    difference: float | None = None
    refusal: str | None = None


def distance(a: Tensor, b: Tensor) -> float:
    """max|a − b| / max(1, max|b|); NaN if either has a NaN."""
    return ((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1)).item()


def check(case: Case, implementations: Mapping[str, Implementation], quantity: Quantity) -> dict[str, Verdict]:
    """Compare every implementation with the one named `reference`. Each of them has run at least once afterwards."""
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
            # the kernel, the compiler or the allocator failed; the other implementations can still be measured
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
    """Judge tensors, given the reference's, and the float64 values in case the tolerance is exceeded."""
    if wrong := _misshapen(given, reference):
        return Verdict(refusal=wrong)
    differences = {name: distance(given[name], reference[name]) for name in reference}
    largest = max(differences.values(), key=lambda value: (value != value, value))
    for name in _over(given, reference, tolerance):
        allowed = max(tolerance, ROUNDING * distance(reference[name], exact[name]))
        error = distance(given[name], exact[name])
        if not error <= allowed:
            return Verdict(largest, f"{name} differs from float64 by {error:.1e}, the limit is {allowed:.1e}")
    return Verdict(largest)


def _over(given: NamedTensors, reference: NamedTensors, tolerance: float) -> list[str]:
    """The tensors whose difference exceeds the tolerance; none if names or shapes differ."""
    if _misshapen(given, reference):
        return []
    return [name for name in reference if not distance(given[name], reference[name]) <= tolerance]


def _misshapen(given: NamedTensors, reference: NamedTensors) -> str | None:
    """Describe a missing, unexpected or misshapen tensor."""
    if differing := given.keys() ^ reference.keys():
        return f"{min(differing)} is {'missing' if min(differing) in reference else 'unknown to the reference'}"
    for name, tensor in reference.items():
        if given[name].shape != tensor.shape:
            return f"{name} has shape {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
