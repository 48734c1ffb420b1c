"""The folder of this user for what can be had again: fetched data sets, built kernels."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/hypernetworks, by default below ~/.cache; it need not exist yet.

    Errors: RuntimeError where the user has no home.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative path there is invalid by the convention that defines the variable.
    return (base if base.is_absolute() else Path.home() / ".cache") / "hypernetworks"
