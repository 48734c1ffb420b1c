"""Text to symbol ids and back.

An alphabet is the tuple of the symbols of a corpus, sorted by code point. The id of a symbol is its index. The unit of a
corpus is the character, the byte or the word. In a corpus of bytes, chr(b) is the symbol of byte b, and text is encoded as
UTF-8. In a corpus of words, a symbol is a word or a single character, see words.py.
"""

import codecs
import shlex
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hypernetworks.errors import UsageError
from hypernetworks.text.words import spelled

__all__ = [
    "Unit",
    "alphabet_of",
    "decode",
    "encode",
    "encode_string",
    "is_binary",
    "single_characters",
    "string_of",
    "symbol_name",
    "text_of_bytes",
]

Unit = Literal["character", "byte", "word"]

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


def symbol_name(unit: Unit) -> str:
    """What a message calls a symbol. In a corpus of words, spaces and signs are symbols, too, so none is called a word."""
    return "symbol" if unit == "word" else unit


def single_characters(alphabet: Iterable[str]) -> list[str]:
    """The symbols of one character: all but words."""
    return [symbol for symbol in alphabet if len(symbol) == 1]


def string_of(text: str, unit: Unit = "character") -> str:
    """The string that consists of the symbols: the text itself, or, for bytes, chr(b) for each byte b of its UTF-8."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1") if unit == "byte" else text


def alphabet_of(parts: Iterable[str]) -> tuple[str, ...]:
    """The distinct characters of strings, sorted by code point."""
    present = np.zeros(_CODE_POINTS, dtype=np.bool_)
    for part in parts:
        present[_code_points(part)] = True
    return tuple(chr(point) for point in np.flatnonzero(present))


def encode(text: str, alphabet: Sequence[str], unit: Unit = "character") -> Tensor:
    """The symbol ids of a text.

    Args:
        text: the text.
        alphabet: the symbols, sorted; an id is an index into it.
        unit: character, byte or word. A word that the alphabet lacks is spelled by its characters.

    Returns:
        Ids (length,), uint8 if the alphabet has at most 256 symbols, else int32.

    Raises:
        UsageError: the text has characters that the alphabet lacks; the message names the first few and their positions.
    """
    return encode_string(string_of(text, unit), alphabet, unit)


def encode_string(string: str, alphabet: Sequence[str], unit: Unit, first: int = 0) -> Tensor:
    """The ids (length,) of a string that consists of symbols, see `string_of`.

    first: how many symbols are read; 0: all. What is not read may have any characters.
    """
    dtype = np.uint8 if len(alphabet) <= 256 else np.int32
    if unit == "word":
        index = {symbol: id for id, symbol in enumerate(alphabet)}
        symbols = list(islice(spelled(string, index), first or None))
        _check_known(_code_points("".join(symbols)), single_characters(alphabet), unit)
        return torch.from_numpy(np.fromiter((index[symbol] for symbol in symbols), dtype, len(symbols)))
    codes = _code_points(string[: first or None])
    _check_known(codes, alphabet, unit)
    ids = np.zeros(_CODE_POINTS, dtype=dtype)
    ids[[ord(symbol) for symbol in alphabet]] = np.arange(len(alphabet), dtype=dtype)
    return torch.from_numpy(ids[codes])


def decode(ids: Tensor | Sequence[int], alphabet: Sequence[str], unit: Unit = "character") -> str:
    """The text of ids (length,). Bytes that are not valid UTF-8, such as a truncated character, become U+FFFD.

    Raises:
        IndexError: an id is out of range.
    """
    text = "".join([alphabet[i] for i in (ids.tolist() if isinstance(ids, Tensor) else ids)])
    return text.encode("latin-1").decode("utf-8", "replace") if unit == "byte" else text


def _code_points(text: str) -> np.ndarray:
    """The code points, one byte each if that suffices (100 MB stay 100 MB), else four."""
    try:
        return np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _check_known(codes: np.ndarray, characters: Sequence[str], unit: Unit) -> None:
    """UsageError if a text has other code points than those of some characters."""
    known = np.zeros(_CODE_POINTS, dtype=np.bool_)
    known[[ord(character) for character in characters]] = True
    unknown = np.flatnonzero(~known[codes])
    if unknown.size:
        raise UsageError(_complaint(codes, unknown, characters, unit))


def _complaint(codes: np.ndarray, unknown: np.ndarray, characters: Sequence[str], unit: Unit) -> str:
    points, firsts = np.unique(codes[unknown], return_index=True)
    order = np.argsort(firsts)
    named = [
        f"{f'byte {points[i]:#04x}' if unit == 'byte' else chr(points[i])!r} at {unknown[firsts[i]]}"
        for i in order[:_SHOWN]
    ]
    more = f" and {len(points) - _SHOWN} more" if len(points) > _SHOWN else ""
    expected = f"one of the {len(characters)} in the alphabet"
    if unit != "byte" and len(characters) <= 100:
        expected = f"one of {''.join(characters)!r}"
    what = "bytes" if unit == "byte" else "characters"
    return f"the text has {what} that the alphabet lacks: {', '.join(named)}{more}; expected {expected}"
