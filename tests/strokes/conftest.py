"""Drawings of squares and crosses, as a user's own file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hypernetworks.strokes.config import StrokesConfig
from hypernetworks.strokes.data import StrokeData, load_strokes
from hypernetworks.strokes.presets import PRESETS

SQUARE = [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]
CROSS = [[[0, 5], [10, 5]], [[5, 0], [5, 10]]]


def toy_drawings(count: int) -> list:
    """Squares and crosses of random sizes."""
    made = torch.Generator().manual_seed(0)
    sizes = (1 + torch.rand(count, generator=made)).tolist()
    return [
        [[[x * size, y * size] for x, y in stroke] for stroke in (SQUARE, CROSS)[number % 2]]
        for number, size in enumerate(sizes)
    ]


@pytest.fixture(autouse=True)
def no_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def toy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strokes") / "toy.json"
    path.write_text(json.dumps(toy_drawings(60)))
    return path


@pytest.fixture
def toy(toy_file: Path) -> StrokeData:
    return load_strokes(str(toy_file))


@pytest.fixture
def tiny(toy_file: Path) -> StrokesConfig:
    return replace(PRESETS["seconds"], data=str(toy_file), device="cpu")
