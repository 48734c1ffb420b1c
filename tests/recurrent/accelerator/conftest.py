"""The kernels' tests choose their paths themselves, so they run once, and only where triton is installed."""

from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]


@pytest.fixture(autouse=True)
def path() -> str:
    return "triton"
