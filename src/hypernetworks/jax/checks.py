"""The input and the state that the functions are passed: checked when JAX traces them, at no cost afterwards."""

from collections.abc import Mapping, Sequence

import jax  # pyright: ignore[reportMissingImports]
import jax.numpy as jnp  # pyright: ignore[reportMissingImports]


def check_input(x: jax.Array, dimensions: str, size: int) -> None:
    """Check that x has as many dimensions as `dimensions` has letters, and that the last one is `size`.

    Raises:
        ValueError: it has not.
    """
    if x.ndim != len(dimensions) or x.shape[-1] != size:
        raise ValueError(f"x: got shape {x.shape}, expected ({', '.join(dimensions[:-1])}, {size})")


def initial(
    state: Sequence[jax.Array] | None, shapes: Mapping[str, tuple[int, int]], x: jax.Array
) -> tuple[jax.Array, ...]:
    """The parts of a state, of which `shapes` has the names; None: zeros of the dtype of the input x.

    Raises:
        ValueError: a part has another shape.
    """
    if state is None:
        return tuple(jnp.zeros(shape, x.dtype) for shape in shapes.values())
    for (name, shape), array in zip(shapes.items(), state, strict=True):
        if array.shape != shape:
            raise ValueError(f"state {name}: got shape {array.shape}, expected {shape}")
    return tuple(state)
