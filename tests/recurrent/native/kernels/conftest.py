"""The first use of the kernels, again for each test."""

import sys

import pytest

from .fake import First


@pytest.fixture
def first(monkeypatch, caplog, tmp_path) -> First:
    monkeypatch.setitem(sys.modules, "hypernetworks_kernels", None)  # as if it were not installed
    return First(monkeypatch, caplog, tmp_path)
