"""The data of the kept runs, made by arithmetic alone, so that every version of everything makes the same bytes."""

import struct
from pathlib import Path


def write_data(folder: Path) -> None:
    """Write a toy ``ptb-char`` and a toy ``mnist`` (24 + 10 images) as a user would put them there."""
    lines = [f"{n} is {n * n} and its half {n / 2}" for n in range(60)]
    for name, part in (("train", lines[:40]), ("valid", lines[40:50]), ("test", lines[50:])):
        (folder / f"ptb.{name}.txt").write_text("".join(f" {line} \n" for line in part))
    (folder / "mnist").mkdir()
    for name, count in (("train", 24), ("t10k", 10)):
        pixels = bytes(_pixel(n, row, column) for n in range(count) for row in range(28) for column in range(28))
        (folder / "mnist" / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, count, 28, 28) + pixels)
        labels = bytes(n % 10 for n in range(count))
        (folder / "mnist" / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, count) + labels)


def _pixel(image: int, row: int, column: int) -> int:
    """A bright row, which its label places, on a dim pattern of the image's own."""
    return 255 if row == 2 * (image % 10) + 4 else (7 * image + 5 * row + 3 * column) % 60
