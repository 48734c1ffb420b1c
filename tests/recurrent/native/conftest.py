"""The tests here choose their path themselves."""

import pytest

from hypernetworks.recurrent.native.kernels import library

from .parity import spy

__all__ = ["spy"]


@pytest.fixture(autouse=True)
def path() -> None:
    if library() is None:
        pytest.skip("there are no native kernels here")
