"""Drawings in three splits, from a named set or a file.

kanji        6,703 characters in 11,662 drawings: 90 % of the characters train, 5 % validate and 5 % test, drawn with a fixed
             seed; all variants of a character are in one split
FILE.json    one's own strokes: 90 %, 5 % and 5 % of the drawings, at least one
FILE.npz     sketch-rnn's form, with its own splits
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from hypernetworks.cache import cache_folder
from hypernetworks.data.data_file import DataFile
from hypernetworks.data.named_sets import NamedSet, nearest, obtain_all
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import make_folder, read_whole, write_whole
from hypernetworks.strokes.drawings import Drawings
from hypernetworks.strokes.kanji import ATTRIBUTION, SIZE, TOLERANCE, read_kanji
from hypernetworks.strokes.own_strokes import read_own_strokes
from hypernetworks.strokes.sketch_rnn import SPLITS, read_sketch_rnn
from hypernetworks.training.random import generator

__all__ = ["NAMED_SETS", "StrokeData", "load_strokes"]

NAMED_SETS: Final[dict[str, NamedSet]] = {
    "kanji": NamedSet(
        "6,703 Chinese and Japanese characters stroke by stroke, in 11,662 drawings",
        (
            DataFile(
                ("kanjivg-20260714-py3-none-any.whl",),
                limit=30_000_000,
                sha256="5190e7ec4eb513dbe6865b2ed52c58287fc10ea514b9409e4cf66ce7db41644d",
                wheel="kanjivg==20260714",
            ),
        ),
    )
}
"""The sets by name."""

_FILE_LIMIT: Final = 500_000_000
_PREPARATION: Final = f"1 tolerance {TOLERANCE}"
"""What was done to the characters; part of the name of the prepared file, so that another preparation does not read it."""


@dataclass(frozen=True, eq=False)
class StrokeData:
    """A set of drawings, split.

    Example:
        >>> from hypernetworks.strokes import Drawings, StrokeData
        >>> line = torch.tensor([[0.0, 1], [3, 1]]), torch.tensor([False, True])
        >>> some = Drawings.of([line] * 3, ["a", "b", "c"])
        >>> StrokeData("lines", some, some, some, 10.0, "", "made here", "0" * 64).sizes
        {'train': 3, 'validation': 3, 'test': 3}
    """

    name: str
    """The name or path that it was loaded by."""
    train: Drawings
    validation: Drawings
    test: Drawings
    size: float
    """The side of the square that holds a drawing, with the pen's start in the middle."""
    attribution: str
    """What a picture of these drawings, or of a model trained on them, has to say; empty: nothing."""
    source: str
    """The files that it was read from."""
    sha256: str
    """The checksum of all drawings, in the order of the splits."""

    @property
    def scale(self) -> float:
        """The standard deviation of all coordinates of the training offsets: the unit of the model."""
        return self.train.offsets.double().std().item()

    @property
    def sizes(self) -> dict[str, int]:
        """The number of drawings in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def load_strokes(name_or_path: str, data_dir: Path | None = None) -> StrokeData:
    """Load a named set of drawings, which is found or fetched, or a user's file.

    Raises:
        UsageError: no set or file has this name, a file is wrong, or it has too few drawings.
        FaultError: a file could not be read, fetched or written.
    """
    path = Path(name_or_path)
    attribution = ""
    if name_or_path in NAMED_SETS:
        (file,) = obtain_all(NAMED_SETS[name_or_path], data_dir)
        splits = _split(_prepared(file.content), str(file.path))
        attribution, source = ATTRIBUTION, str(file.path)
    elif path.suffix in (".json", ".npz"):
        content, source = read_whole(path, _FILE_LIMIT), str(path.resolve())
        if path.suffix == ".json":
            splits = _split(read_own_strokes(content, name_or_path), name_or_path)
        else:
            splits = [read_sketch_rnn(content, name_or_path)[split] for split in SPLITS]
    else:
        raise UsageError(
            f"no set of drawings {name_or_path!r}: {nearest(name_or_path, NAMED_SETS)}, or the path of a .json or .npz file"
        )
    digest = hashlib.sha256("".join(part.digest() for part in splits).encode()).hexdigest()
    size = SIZE if attribution else 2 * max(part.extent() for part in splits)
    train, validation, test = splits
    made = StrokeData(name_or_path, train, validation, test, size, attribution, source, digest)
    if not made.scale > 0:
        raise UsageError(f"{name_or_path}: the offsets of all training drawings are equal")
    return made


def _split(drawings: Drawings, place: str) -> list[Drawings]:
    """Training, validation and test drawings. Drawings of the same name are in one split."""
    names = sorted(set(drawings.names))
    held = max(1, len(names) // 20)
    if len(names) < 2 * held + 1:
        raise UsageError(f"{place}: holds {len(names)} drawings, expected at least 3: one for each split")
    order = torch.randperm(len(names), generator=generator(0, "split of drawings", 0)).tolist()
    parts = (order[2 * held :], order[:held], order[held : 2 * held])
    split_of = {names[number]: split for split, part in enumerate(parts) for number in part}
    return [
        drawings.chosen([number for number, name in enumerate(drawings.names) if split_of[name] == split])
        for split in range(3)
    ]


def _prepared(wheel: bytes) -> Drawings:
    """The characters of the wheel, from the cache if they were prepared before."""
    key = hashlib.sha256(wheel + _PREPARATION.encode()).hexdigest()
    try:
        path = cache_folder() / f"kanji-{key[:16]}.safetensors"
    except RuntimeError:  # a user without a home folder
        return read_kanji(wheel)
    try:
        return _from_cache(path)
    except UsageError:  # missing or damaged: prepare the characters again
        pass
    print("preparing the strokes of 11,662 drawings (about half a minute, once)", file=sys.stderr)
    made = read_kanji(wheel)
    tensors = {"offsets": made.offsets, "lifted": made.lifted, "bounds": made.bounds}
    names = torch.tensor([ord(name) for name in made.names])
    try:
        make_folder(path.parent)
        write_whole(path, save_tensors(tensors | {"names": names}) + bytes.fromhex(made.digest()))
    except (FaultError, UsageError) as error:
        print(f"the prepared strokes are not kept: {error}", file=sys.stderr)
    return made


def _from_cache(path: Path) -> Drawings:
    """Read what `_prepared` wrote: the tensors, then their checksum."""
    content = read_whole(path)
    try:
        tensors = load_tensors(content[:-32])
        names = [chr(code) for code in tensors.pop("names").tolist()]
        made = Drawings(**tensors, names=tuple(names))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: is damaged: {error}") from error
    if made.digest() != content[-32:].hex():
        raise UsageError(f"{path}: is damaged")
    return made
