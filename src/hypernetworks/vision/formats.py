"""The binary files of MNIST and CIFAR-10, with checks of the magic number, the size, and the range of labels.

    idx images   magic 2051, N, rows, columns (big-endian, 4 bytes each), then N · rows · columns bytes
    idx labels   magic 2049, N, then N bytes
    CIFAR-10     N records of 3073 bytes: the label, then 3 planes (red, green, blue) of 32 × 32 bytes

N images of C channels, H rows, W columns.
"""

import struct
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from hypernetworks.errors import UsageError

__all__ = ["CLASSES", "read_cifar", "read_idx_images", "read_idx_labels"]

CLASSES: Final = 10

_IMAGES, _LABELS = 2051, 2049
_SIDE = 28
_RECORD = 1 + 3 * 32 * 32


def read_idx_images(content: bytes, path: Path) -> Tensor:
    """The images of an idx file, (N, 1, 28, 28), uint8; UsageError if it is not one, too short or too long."""
    N, rows, columns = _idx_header(content, path, _IMAGES, "images", numbers=3)
    if (rows, columns) != (_SIDE, _SIDE):
        raise UsageError(f"{path}: holds images of {rows}×{columns}, expected {_SIDE}×{_SIDE}")
    return _idx_body(content, path, N, "images", header=16, size=rows * columns).view(N, 1, rows, columns)


def read_idx_labels(content: bytes, path: Path) -> Tensor:
    """The labels of an idx file, (N,), int64; UsageError if it is not one, too short or too long, or a label is above 9."""
    (N,) = _idx_header(content, path, _LABELS, "labels", numbers=1)
    return _labels(_idx_body(content, path, N, "labels", header=8, size=1), path)


def read_cifar(content: bytes, path: Path) -> tuple[Tensor, Tensor]:
    """The images (N, 3, 32, 32), uint8, and labels (N,), int64, of a CIFAR-10 file of the binary version.

    Raises:
        UsageError: the file does not consist of whole records, or a label is above 9.
    """
    if not content or len(content) % _RECORD:
        raise UsageError(
            f"{path}: holds {len(content):,} bytes, expected records of {_RECORD} bytes each (CIFAR-10, binary)"
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, _RECORD)
    return records[:, 1:].contiguous().view(-1, 3, 32, 32), _labels(records[:, 0], path)


def _idx_header(content: bytes, path: Path, magic: int, what: str, numbers: int) -> tuple[int, ...]:
    length = 4 * (1 + numbers)
    if len(content) < length:
        raise UsageError(
            f"{path}: holds {len(content)} bytes, expected an idx file of {what}, whose header has {length}"
        )
    found, *sizes = struct.unpack(f">{1 + numbers}I", content[:length])
    if found != magic:
        raise UsageError(f"{path}: begins with the magic number {found}, expected {magic} (an idx file of {what})")
    if sizes[0] == 0:
        raise UsageError(f"{path}: holds no {what}")
    return tuple(sizes)


def _idx_body(content: bytes, path: Path, N: int, what: str, header: int, size: int) -> Tensor:
    expected = header + N * size
    if len(content) != expected:
        raise UsageError(f"{path}: holds {len(content):,} bytes, expected {expected:,} for its {N:,} {what}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header)


def _labels(found: Tensor, path: Path) -> Tensor:
    if (highest := int(found.max())) >= CLASSES:
        raise UsageError(f"{path}: holds the label {highest}, expected 0 to {CLASSES - 1}")
    return found.long()
