"""The shapes of what the functions are passed: checked when JAX traces them, at no cost afterwards."""

import jax  # pyright: ignore[reportMissingImports]


def check_input(x: jax.Array, dimensions: str, size: int) -> None:
    """Check that x has as many dimensions as `dimensions` has letters, and that the last one is `size`.

    Raises:
        ValueError: it has not.
    """
    if x.ndim != len(dimensions) or x.shape[-1] != size:
        raise ValueError(f"x: got shape {x.shape}, expected ({', '.join(dimensions[:-1])}, {size})")


def check_state(name: str, array: jax.Array, shape: tuple[int, int]) -> None:
    """Check the shape of one part of the state.

    Raises:
        ValueError: it is another.
    """
    if array.shape != shape:
        raise ValueError(f"state {name}: got shape {array.shape}, expected {shape}")
