"""The first use of the kernels, again for each test."""

import pytest

from .fake import First


@pytest.fixture
def first(monkeypatch, caplog, tmp_path) -> First:
    return First(monkeypatch, caplog, tmp_path)
