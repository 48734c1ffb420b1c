"""The kernels' tests choose their paths themselves, so they run once, and only where triton is installed."""

import pytest

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def path() -> str:
    return "triton"
