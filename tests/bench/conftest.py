"""Tiny sizes and short samples."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from hypernetworks.bench import implementations, sizes, timing
from hypernetworks.bench.case import Case
from hypernetworks.bench.implementation import TorchImplementation
from hypernetworks.bench.sizes import Size

TINY = Size("small", T=6, B=3, I=5, H=7, K=4, Z=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in sizes.SIZES:
        monkeypatch.setitem(sizes.SIZES, name, TINY._replace(name=name))
    monkeypatch.setattr(sizes, "ONE_STEP", Size("one step", T=1, B=1, I=6, H=6, K=3, Z=2))
    for axis, low, high in (("T", 2, 4), ("B", 1, 2), ("H", 3, 5)):
        base = Size("", 3, 2, 3, 3, 2, 2, axis)
        points = [base._replace(name=f"{axis} = {n}", **{axis: n}) for n in (low, high)]
        monkeypatch.setitem(sizes.CURVES, axis, points)
    monkeypatch.setattr(timing, "SAMPLE", 1e-4)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other implementation is installed, and there are no kernels."""
    monkeypatch.setattr(implementations, "library", lambda: None)
    for module in (implementations.labml, implementations.jax_scan):
        monkeypatch.setattr(module, "is_installed", lambda: False)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the compiled path by the reference path with wrong numbers, which saves compiling."""

    def replace(spoilt: Callable[[Tensor, Any], tuple[Tensor, Any]], gradients: Callable[..., Any] = dict) -> None:
        def make(case: Case) -> TorchImplementation:
            def call(x: Tensor, state: Any) -> tuple[Tensor, Any]:
                return spoilt(*case.module(x, state))

            parameters = dict(case.module.named_parameters())
            return TorchImplementation("compiled", call, parameters, case.x, case.cotangent, named_gradients=gradients)

        monkeypatch.setitem(implementations.MAKERS, "compiled", make)

    return replace
