"""Toy copies of both sets of images: a few hundred, each class a bright bar at a place of its own."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.data import ImageData, load_images
from hypernetworks.vision.presets import PRESETS


def toy_images(N: int, C: int, side: int) -> tuple[Tensor, Tensor]:
    """(N, C, side, side), uint8, and labels (N,): row 2·label + 4 is bright."""
    made = torch.Generator().manual_seed(N)
    labels = torch.arange(N) % 10
    images = torch.randint(60, (N, C, side, side), generator=made, dtype=torch.uint8)
    images[torch.arange(N), :, 2 * labels + 4] = 255
    return images, labels


def idx(values: Tensor, magic: int) -> bytes:
    sizes = [len(values), *values.shape[2:]]
    return struct.pack(f">{1 + len(sizes)}I", magic, *sizes) + bytes(values.flatten().tolist())


def cifar(images: Tensor, labels: Tensor) -> bytes:
    return bytes(torch.cat([labels.unsqueeze(1).byte(), images.flatten(1)], dim=1).flatten().tolist())


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 + 40 digits, gzipped and not, and 60 + 30 photographs."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mnist").mkdir()
    (folder / "cifar-10-batches-bin").mkdir()
    for name, N in (("train", 120), ("t10k", 40)):
        images, labels = toy_images(N, 1, 28)
        (folder / "mnist" / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images, 2051)))
        (folder / "mnist" / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels, 2049))
    for name, N in (("data_batch_1", 40), ("data_batch_3", 20), ("test_batch", 30)):
        (folder / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(cifar(*toy_images(N, 3, 32)))
    return folder


@pytest.fixture(autouse=True)
def no_other_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def digits(toy_folder: Path) -> ImageData:
    return load_images("mnist", toy_folder)


@pytest.fixture
def tiny() -> dict[str, VisionConfig]:
    """The preset for MNIST, both variants, cut to six steps."""
    return {kernels: shortened(config, 6) for kernels, config in PRESETS["mnist"].items()}


def shortened(config: VisionConfig, steps: int) -> VisionConfig:
    """As shipped, but for the number of steps and the batch, on the CPU."""
    schedule = replace(
        config.schedule, steps=steps, warmup=min(config.schedule.warmup, 1), evaluate_every=2, log_every=2
    )
    return replace(config, schedule=schedule, batch_size=10, device="cpu")
