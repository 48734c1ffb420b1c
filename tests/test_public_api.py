"""The public API is what tests/public_api.txt says: a change of a name, an argument or a default is a change of that file."""

import pytest

from .public_api import PACKAGES, listing, written

pytest.importorskip("sphinx")  # the reference knows which members of a class are public


@pytest.mark.parametrize("package", PACKAGES)
def test_names_and_signatures_are_those_that_are_written_down(package):
    if package == "hypernetworks.jax":
        pytest.importorskip("jax")
    assert listing(package) == written()[package], "if the change is intended: python -m tests.public_api"
