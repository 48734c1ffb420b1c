"""The page of a server with two runs."""

from collections.abc import Iterator
from typing import Any

import pytest

from hypernetworks.serve.limits import Limits

from .clients import make_batch, serving


@pytest.fixture(scope="session")
def batches() -> tuple[Any, Any]:
    return make_batch("hyper-lstm"), make_batch("lstm")


@pytest.fixture(scope="module")
def address(batches: tuple[Any, Any]) -> Iterator[str]:
    with serving(*batches, limits=Limits(max_length=10**6)) as address:
        yield address


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    from .browsing import expect, opened  # needs Playwright

    page = opened(chromium, address)
    expect(page.locator("section")).to_have_count(2)
    yield page
    assert page.asked
    assert all(url.startswith((address, "data:")) for url in page.asked)
    assert page.errors == []
    page.close()
