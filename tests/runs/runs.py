"""A run of a few commits, and how its states are compared."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.runs.run import Run

CONFIG = {"seed": 3, "data": "shakespeare", "betas": (0.9, 0.99)}


def weights(step: int) -> dict[str, torch.Tensor]:
    weight = torch.full((3, 2), float(step))
    return {"w": weight, "tied": weight, "b": torch.arange(2.0) * step}


def trainer(step: int, best: int | None) -> dict[str, Any]:
    """A state at a step whose best came at another step, or the same."""
    found = None if best is None else {"step": best, "score": 1 / (1 + best), "model": weights(best)}
    return {"step": step, "model": weights(step), "best": found, "random": torch.get_rng_state(), "position": [step, 7]}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of four steps and two commits, the best of step 2, and a row past the last commit."""
    run = Run.create(tmp_path / "run", CONFIG)
    for step in (1, 2, 3, 4):
        run.record({"step": step, "loss": 1 / step})
        if step in (2, 4):
            run.commit(trainer(step, best=2))
    run.record({"step": 5})
    return run
