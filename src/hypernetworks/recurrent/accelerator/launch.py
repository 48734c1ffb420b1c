"""Start a kernel. All launches go through here, so that a test can compile what would be run."""

from collections.abc import Callable
from typing import Any


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    arguments: dict[str, Any],
    *,
    num_warps: int,
    num_stages: int = 1,
    pdl: bool = False,
) -> None:
    """Run a kernel on a grid of programs; arguments by name, None for a tensor that is left out.

    pdl: programmatic dependent launch, which the kernel has to be written for.
    """
    options = {"launch_pdl": True} if pdl else {}
    kernel[grid](**arguments, num_warps=num_warps, num_stages=num_stages, **options)


Launch = Callable[..., None]


def blocks(size: int, block: int) -> int:
    """How many blocks cover the size."""
    return -(-size // block)


def power_of_two(size: int, least: int = 1) -> int:
    """The smallest power of two that holds the size, at least `least`."""
    return max(least, 1 << (max(size, 1) - 1).bit_length())
