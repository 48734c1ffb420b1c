"""Text to symbol ids and back.

An alphabet is the tuple of the symbols of a corpus, sorted by code point. The id of a symbol is its index. The unit of a
corpus is the character or the byte. In a corpus of bytes, chr(b) is the symbol of byte b, and text is encoded as UTF-8.
"""

import codecs
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hypernetworks.errors import UsageError

__all__ = ["Unit", "alphabet_of", "decode", "encode", "is_binary", "symbols_of", "text_of_bytes"]

Unit = Literal["character", "byte"]

_CODE_POINTS = 0x110000
_SHOWN = 5


def text_of_bytes(content: bytes, path: Path) -> str:
    """Decode a UTF-8 file: line ends become newlines, and a byte-order mark is removed.

    Raises:
        UsageError: the bytes at `path` are not text; the message names the first invalid byte and its position.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"{path} is not UTF-8 text: byte {content[error.start]:#04x} at {error.start}"
        raise UsageError(f"{found}{_remedy(content, path)}") from error
    if "\0" in text:
        raise UsageError(f"{path} is not text: a zero byte at {content.index(0)}")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


_PACKED = {b"\x1f\x8b": ("gzip", "gunzip"), b"BZh": ("bzip2", "bunzip2"), b"\xfd7zXZ\0": ("xz", "unxz")}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_binary(content: bytes) -> bool:
    """Whether bytes are no text in any encoding: they are compressed, or have zero bytes, which only a text in UTF-16 has."""
    return content.startswith(tuple(_PACKED)) or (b"\0" in content and not content.startswith(_UTF_16))


def _remedy(content: bytes, path: Path) -> str:
    """What a file that is not UTF-8 may be, and how to make a text of it."""
    for start, (kind, command) in _PACKED.items():
        if content.startswith(start):
            return f": it looks like {kind}: unpack it with {command}"
    if is_binary(content):
        return ": it looks like a binary file"
    encoding = "UTF-16" if content.startswith(_UTF_16) else "WINDOWS-1252"
    return f": if it is {encoding}, convert it: iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > NEW"


def symbols_of(text: str, unit: Unit = "character") -> str:
    """The text as a string of symbols: the text itself, or, for bytes, chr(b) for each byte b of its UTF-8."""
    return text if unit == "character" else text.encode("utf-8", "surrogatepass").decode("latin-1")


def alphabet_of(parts: Iterable[str]) -> tuple[str, ...]:
    """The distinct symbols of strings of symbols, sorted by code point."""
    present = np.zeros(_CODE_POINTS, dtype=np.bool_)
    for part in parts:
        present[_code_points(part)] = True
    return tuple(chr(point) for point in np.flatnonzero(present))


def encode(text: str, alphabet: Sequence[str], unit: Unit = "character") -> Tensor:
    """The symbol ids of a text.

    Args:
        text: the text.
        alphabet: the symbols, sorted; an id is an index into it.
        unit: character or byte.

    Returns:
        Ids (length,), uint8 if the alphabet has at most 256 symbols, else int32.

    Raises:
        UsageError: the text has symbols that the alphabet lacks; the message names the first few and their positions.
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
    """The text of ids (length,). Bytes that are not valid UTF-8, such as a truncated character, become U+FFFD.

    Raises:
        IndexError: an id is out of range.
    """
    text = "".join([alphabet[i] for i in (ids.tolist() if isinstance(ids, Tensor) else ids)])
    return text if unit == "character" else text.encode("latin-1").decode("utf-8", "replace")


def _code_points(text: str) -> np.ndarray:
    """The code points, one byte each if that suffices (100 MB stay 100 MB), else four."""
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
    return f"the text has {unit}s that the alphabet lacks: {', '.join(named)}{more}; expected {expected}"
