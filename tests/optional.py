"""Optional packages of the tests."""

import sys
from types import ModuleType

import pytest


def optional(name: str) -> ModuleType:
    """Import a package, or skip the test.

    transformers imports torchvision if it finds it. One that was built for another torch cannot be imported and is hidden.
    """
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        sys.modules["torchvision"] = None
    return pytest.importorskip(name)
