"""Reads the .npz files of sketch-rnn, such as those of "Quick, Draw!", without running what a pickle names.

    train.npy, valid.npy, test.npy        each an array of objects: one array (points, 3) for each drawing, [Δx, Δy, lifted]

NumPy stores arrays of objects as a pickle, and a pickle may name any function to be called. Here only the four names that NumPy
writes for arrays are known, and each stands for a class of this file that takes notes and calls nothing. Any other name is an
error.

Source: Ha and Eck, arXiv 1704.03477.
"""

import pickle
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final
from zipfile import ZipFile

import numpy as np
import torch

from hypernetworks.data.data_file import ZIP_DAMAGE
from hypernetworks.errors import UsageError
from hypernetworks.strokes.drawings import Drawings, check_offsets

__all__ = ["SPLITS", "read_sketch_rnn"]

SPLITS: Final = ("train", "valid", "test")
_LARGEST: Final = 2_000_000_000
"""Bytes of a split after decompression."""

_NUMBERS: Final = {"i1", "i2", "i4", "i8", "f4", "f8"}


class _Type:
    """Notes the arguments of a numpy.dtype."""

    def __init__(self, name: str, *flags: object) -> None:
        self.name, self.order = name, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]


class _Array:
    """Notes the content of a numpy.ndarray."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


def _array(*arguments: object) -> _Array:
    return _Array()


def _bytes(text: str, coding: str) -> bytes:
    if coding != "latin1":
        raise pickle.UnpicklingError(f"a text is encoded as {coding}")
    return text.encode("latin-1")


_KNOWN: Final[Mapping[str, Callable[..., object]]] = {
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "_codecs.encode": _bytes,  # how Python 3 writes bytes in the oldest form of pickles
}


class _Reader(pickle.Unpickler):
    """Knows no names but those of arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name."""
        if (known := _KNOWN.get(f"{module}.{name}")) is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known


def read_sketch_rnn(content: bytes, place: str) -> dict[str, Drawings]:
    """The drawings of each split, by the names in `SPLITS`.

    Raises:
        UsageError: it is no such file, a pickle in it names anything but arrays, or a drawing is invalid.
    """
    try:
        with ZipFile(BytesIO(content)) as archive:
            names = set(archive.namelist())
            if missing := [split for split in SPLITS if f"{split}.npy" not in names]:
                raise UsageError(f"{place}: holds no array {missing[0]}, expected {', '.join(SPLITS)}")
            return {split: _drawings(archive, split, place) for split in SPLITS}
    except ZIP_DAMAGE as error:
        raise UsageError(f"{place}: is not an .npz file: {error}") from error


def _drawings(archive: ZipFile, split: str, place: str) -> Drawings:
    where = f"{place}: {split}"
    if archive.getinfo(f"{split}.npy").file_size > _LARGEST:
        raise UsageError(f"{where}: is larger than {_LARGEST:,} bytes")
    parts = []
    for number, array in enumerate(_objects(archive.read(f"{split}.npy"), where)):
        points = _points(array, f"{where}, drawing {number}")
        check_offsets(points[:, :2], points[:, 2] != 0, f"{where}, drawing {number}")
        parts.append((torch.from_numpy(points[:, :2]).float(), torch.from_numpy(points[:, 2] != 0)))
    if not parts:
        raise UsageError(f"{where}: holds no drawing")
    return Drawings.of(parts, [f"{split} {number}" for number in range(len(parts))])


def _objects(content: bytes, where: str) -> list[_Array]:
    """The objects of an .npy file that holds an array of them."""
    stream = BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read(stream)
        if dtype != np.dtype(object):
            raise UsageError(
                f"{where}: is an array of {dtype}, expected one of objects, an array (points, 3) for each drawing"
            )
        outer = _Reader(stream, encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        reason = "the pickle in it cannot be read safely" if isinstance(error, pickle.UnpicklingError) else "is damaged"
        advice = "convert the drawings to .json: a list of drawings, each a list of strokes, each a list of [x, y]"
        raise UsageError(f"{where}: {reason} ({error}); {advice}") from error
    match outer:
        case _Array(state=(_, tuple(), _, _, list() as objects)) if all(isinstance(x, _Array) for x in objects):
            return objects
    raise UsageError(f"{where}: is not an array of arrays")


def _points(array: _Array, where: str) -> np.ndarray:
    """The rows [Δx, Δy, lifted] of a drawing, (points, 3), float64."""
    match array.state:
        case (_, (int() as rows, 3), _Type(name=str() as name, order="<" | ">" | "|" as order), fortran, data):
            raw = data.encode("latin-1") if isinstance(data, str) else data  # Python 2 wrote bytes as text
            if name in _NUMBERS and isinstance(raw, bytes) and len(raw) == 3 * rows * int(name[1]):
                made = np.frombuffer(raw, dtype=np.dtype(name).newbyteorder(order))
                return made.reshape((rows, 3), order="F" if fortran else "C").astype(np.float64)
    raise UsageError(f"{where}: should be an array of numbers (points, 3)")
