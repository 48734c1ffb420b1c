"""Every test of the recurrent networks is run on the reference path and on the native one, unless it chooses itself."""

from collections.abc import Iterator

import pytest

import hypernetworks as hn
from hypernetworks.recurrent.native.kernels import library


@pytest.fixture(autouse=True, params=["reference", "native"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "native" and library() is None:
        pytest.skip("there are no native kernels here")
    with hn.use_backend(request.param):
        yield request.param
