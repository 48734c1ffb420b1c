"""Random numbers that hang on the run's seed, their use and a number alone.

So a run that goes on needs nothing kept of them, and several processes, or a batch worked in parts, draw what one process draws
for the whole batch.
"""

import hashlib

import torch


def seed_of(seed: int, use: str, number: int) -> int:
    """A seed of 64 bits for one use of random numbers, at one step, say; others for every other use, number and seed."""
    digest = hashlib.sha256(f"{use} {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "little")


def generator(seed: int, use: str, number: int) -> torch.Generator:
    """A generator on the CPU that begins at `seed_of` these."""
    return torch.Generator().manual_seed(seed_of(seed, use, number))
