"""The tests here choose their paths themselves, so they run once."""

from importlib.util import find_spec

import pytest

collect_ignore = [] if find_spec("triton") else ["test_interpreter.py", "test_ahead_of_time.py"]


@pytest.fixture(autouse=True)
def path() -> str:
    return "triton"
