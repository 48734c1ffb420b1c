"""Text to symbol ids and back.

An alphabet is the tuple of a corpus's symbols in order of code point; a symbol's id is its place in it. The unit of a
corpus is the character, or the byte: there the symbol of byte b is chr(b), and text meets it as UTF-8.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hypernetworks.errors import UsageError

__all__ = ["Unit", "alphabet_of", "decode", "encode", "symbols_of", "text_of_bytes"]

Unit = Literal["character", "byte"]

_CODE_POINTS = 0x110000
_SHOWN = 5


def text_of_bytes(content: bytes, path: Path) -> str:
    """The text of a UTF-8 file, its line ends made newlines, without a byte-order mark.

    Raises:
        UsageError: the bytes at `path` are no text; the first wrong byte is named with its place.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: byte {content[error.start]:#04x} at {error.start}") from error
    if "\0" in text:
        raise UsageError(f"{path} is not text: a zero byte at {content.index(0)}")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def symbols_of(text: str, unit: Unit = "character") -> str:
    """The text as a string of symbols: itself, or for bytes one chr(byte) for each byte of its UTF-8."""
    return text if unit == "character" else text.encode("utf-8", "surrogatepass").decode("latin-1")


def alphabet_of(parts: Iterable[str]) -> tuple[str, ...]:
    """The distinct symbols of some strings of symbols, sorted by code point."""
    present = np.zeros(_CODE_POINTS, dtype=np.bool_)
    for part in parts:
        present[_code_points(part)] = True
    return tuple(chr(point) for point in np.flatnonzero(present))


def encode(text: str, alphabet: Sequence[str], unit: Unit = "character") -> Tensor:
    """The ids of a text's symbols.

    Args:
        text: the text.
        alphabet: the symbols, sorted; ids are places in it.
        unit: what a symbol stands for.

    Returns:
        (length,), uint8 where the alphabet has at most 256 symbols, else int32.

    Raises:
        UsageError: the text has symbols that the alphabet has not; the first few are named with their places.
    """
    codes = _code_points(symbols_of(text, unit))
    points = np.array([ord(symbol) for symbol in alphabet], dtype=np.int64)
    known = np.zeros(_CODE_POINTS, dtype=np.bool_)
    known[points] = True
    ids = np.zeros(_CODE_POINTS, dtype=np.uint8 if len(alphabet) <= 256 else np.int32)
    ids[points] = np.arange(len(alphabet), dtype=ids.dtype)
    unknown = np.flatnonzero(~known[codes])
    if unknown.size:
        raise UsageError(_complaint(codes, unknown, alphabet, unit))
    return torch.from_numpy(ids[codes])


def decode(ids: Tensor | Sequence[int], alphabet: Sequence[str], unit: Unit = "character") -> str:
    """The text of some ids, (length,). Bytes that are no UTF-8 (a cut character) become U+FFFD.

    Raises:
        IndexError: an id is beyond the alphabet.
    """
    text = "".join([alphabet[i] for i in (ids.tolist() if isinstance(ids, Tensor) else ids)])
    return text if unit == "character" else text.encode("latin-1").decode("utf-8", "replace")


def _code_points(text: str) -> np.ndarray:
    """The code points, one byte each where that suffices (100 MB stay 100 MB), else four."""
    try:
        return np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _complaint(codes: np.ndarray, unknown: np.ndarray, alphabet: Sequence[str], unit: Unit) -> str:
    points, firsts = np.unique(codes[unknown], return_index=True)
    order = np.argsort(firsts)
    named = [
        f"{chr(points[i]) if unit == 'character' else f'byte {points[i]:#04x}'!r} at {unknown[firsts[i]]}"
        for i in order[:_SHOWN]
    ]
    more = f" and {len(points) - _SHOWN} more" if len(points) > _SHOWN else ""
    expected = f"one of the {len(alphabet)} in the alphabet"
    if unit == "character" and len(alphabet) <= 100:
        expected = f"one of {''.join(alphabet)!r}"
    return f"the text has {unit}s that the alphabet has not: {', '.join(named)}{more}; expected {expected}"
