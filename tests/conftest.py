"""What holds for all tests: one thread, a fixed seed, examples without a deadline."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import settings

from hypernetworks.recurrent.native.kernels import library

# Tiny products gain nothing from more threads, and where the machine is shared each would wait for the others. The
# processes that tests start heed the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# Built here, or found, before tests move the cache: in another one every process would build the kernels again.
library()

# How long an example takes on a shared machine says nothing. The short form draws the same examples every time, so that
# a change fails by what it changed; the long form draws new ones.
settings.register_profile("short", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None)
settings.load_profile("long" if os.environ.get("HYPERNETWORKS_LONG") else "short")


@pytest.fixture(autouse=True)
def same_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser. Tests of pages are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()
