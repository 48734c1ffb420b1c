import os
from collections.abc import Iterator

import pytest

# most of the time of these tests is XLA's compilation
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")


@pytest.fixture
def float64() -> Iterator[None]:
    """JAX in 64 bits during a test."""
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)
