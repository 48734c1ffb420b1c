"""Random numbers that depend only on the run's seed, their use and a number.

A resumed run needs no stored generator for them. Several processes, or a batch computed in parts, draw the numbers that one
process draws for the whole batch.
"""

import hashlib

import torch

__all__ = ["generator", "seed_of"]


def seed_of(seed: int, use: str, number: int) -> int:
    """A 64-bit seed for one use of random numbers, for example at one step. Any other use, number or seed gives another."""
    digest = hashlib.sha256(f"{use} {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator(seed: int, use: str, number: int) -> torch.Generator:
    """A generator on the CPU, seeded by `seed_of`."""
    return torch.Generator().manual_seed(seed_of(seed, use, number))
