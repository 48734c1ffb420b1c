"""A corpus: a text as symbol ids in three splits, from a named set, a file or a folder.

`data_sets` has the named sets, their splits and their sources. A user's own text is split by position: the first 90 %, the next
5 % and the last 5 % of its characters, or of its bytes. Or the user has a text for each split.

As with grep and git, a binary file in a folder of texts is left out. A file in another encoding than UTF-8 is a text, so it is
an error.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hypernetworks.data.named_sets import obtain_all
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.processes import warn_once
from hypernetworks.text.alphabet import (
    Unit,
    alphabet_of,
    decode,
    encode,
    encode_string,
    is_binary,
    string_of,
    text_of_bytes,
)
from hypernetworks.text.data_sets import NAMED_SETS, Splits, no_such_corpus
from hypernetworks.text.words import frequent_words

__all__ = ["Corpus", "load_corpus", "whole_text"]

_SHOWN = 5
"""Names of binary files that a message lists."""

SHORTEST_TEXT = 40
"""The minimum length of a user's text: 5 % of it are two characters, one to read and one to predict."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as symbol ids. Each split is one stream.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from hypernetworks.text import load_corpus
        >>> with TemporaryDirectory() as folder:
        ...     text = Path(folder) / "text.txt"
        ...     _ = text.write_text("abcde" * 20)
        ...     corpus = load_corpus(str(text))
        >>> corpus.sizes
        {'train': 90, 'validation': 5, 'test': 5}
        >>> corpus.decode(corpus.encode("bed"))
        'bed'
    """

    name: str
    """The name or path that it was loaded by."""

    train: Tensor
    """(symbols,), uint8 if the alphabet has at most 256 symbols, else int32; likewise for the other splits."""

    validation: Tensor

    test: Tensor
    """Empty if the set has no test split."""

    alphabet: tuple[str, ...]
    """The symbols of all splits, sorted by code point; an id is an index into it. Of a user's own text in bytes: all 256. Of a
    text in words: the frequent words of the training split, see `words.frequent_words`, and the characters of all splits."""

    unit: Unit
    """Character, byte or word; in a corpus of bytes, symbol chr(b) is byte b."""

    source: str
    """The files that it was read from."""

    sha256: str
    """The checksum of the text, all splits in order, in UTF-8 (for bytes, of the bytes). Texts of the user's own for each split
    are separated by a zero byte, which no text has."""

    @property
    def sizes(self) -> dict[str, int]:
        """The number of symbols in each split."""
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}

    def encode(self, text: str) -> Tensor:
        """The ids of a text, (length,); a UsageError names characters that the alphabet lacks."""
        return encode(text, self.alphabet, self.unit)

    def decode(self, ids: Tensor) -> str:
        """The text of ids, (length,)."""
        return decode(ids, self.alphabet, self.unit)


def load_corpus(
    name_or_path: str,
    data_dir: Path | None = None,
    *,
    validation_text: str = "",
    test_text: str = "",
    unit: Unit = "character",
) -> Corpus:
    """Load a named corpus, or a user's own text.

    Args:
        name_or_path: a name of `NAMED_SETS`, or the path of a UTF-8 file or a folder of such files. A folder is read
            recursively in sorted order, without binary files and names that start with a dot, and its texts are joined by a
            blank line. Use ./NAME for a file that has the name of a set.
        data_dir: the folder to look for a named set first, and to fetch it into; None: $HYPERNETWORKS_DATA and the user's
            cache.
        validation_text: the path of the text of the validation split. The whole of the first text is then the training split.
            Empty: the first text is split.
        test_text: the path of the text of the test split, if there is a `validation_text`; empty: there is none.
        unit: what a symbol of a user's own text is, "character", "byte" or "word". A named set has its own.

    Raises:
        UsageError: no set, file or folder has this name, or the text is empty, not UTF-8, too short, or has only one symbol, or
            a named set is given texts for its splits, or a unit that it does not have.
        FaultError: a file could not be read, fetched or written.
    """
    if validation_text:
        return _of_three(name_or_path, validation_text, test_text, unit)
    if name_or_path in NAMED_SETS:
        own_unit = NAMED_SETS[name_or_path].unit
        if unit not in ("character", own_unit):
            raise UsageError(f"{name_or_path} is read by {own_unit}: unit {unit} is for a corpus that is a path")
        splits, _, source = _named(name_or_path, data_dir)
        return _corpus(name_or_path, splits, own_unit, source)
    text, source = _own_text(name_or_path, no_such_corpus)
    return _corpus(name_or_path, _by_position(string_of(text, unit), name_or_path), unit, source, _all_of(unit))


def whole_text(name_or_path: str, data_dir: Path | None = None) -> tuple[str, Unit]:
    """The whole text of a named corpus, a file or a folder, see `load_corpus`, as the string of its symbols, and their unit."""
    if name_or_path in NAMED_SETS:
        splits, unit, _ = _named(name_or_path, data_dir)
        return "".join(splits), unit
    return _own_text(name_or_path, no_such_corpus)[0], "character"


def _of_three(training: str, validation: str, test: str, unit: Unit) -> Corpus:
    """A corpus of a text for each split."""
    if training in NAMED_SETS:
        raise UsageError(
            f"{training} has splits of its own: a validation_text is for a corpus that is a path, got {validation!r}"
        )
    paths = [training, validation, *([test] if test else [])]
    read = [_own_text(path, lambda path: f"no file or folder {path!r}: expected the path of a text") for path in paths]
    for path, (text, _) in zip(paths, read, strict=True):
        if not text.strip():
            raise UsageError(f"the text of {path} is empty")
    texts = [string_of(text, unit) for text, _ in read]
    splits = texts[0], texts[1], texts[2] if test else ""
    return _corpus(training, splits, unit, ", ".join(source for _, source in read), _all_of(unit), b"\0")


def _all_of(unit: Unit) -> tuple[str, ...]:
    """All symbols that there are, if the alphabet should have them, so that any text can be read: bytes."""
    return tuple(map(chr, range(256))) if unit == "byte" else ()


def _named(name: str, data_dir: Path | None) -> tuple[Splits, Unit, str]:
    """The splits of a named set, their unit, and where they were read."""
    named = NAMED_SETS[name]
    found = obtain_all(named, data_dir)
    return named.read(found), named.unit, ", ".join(str(file.path) for file in found)


def _own_text(given: str, missing: Callable[[str], str]) -> tuple[str, str]:
    """The text of a file or folder, and its absolute path; `missing` says that there is none."""
    if not given:
        raise UsageError("the name or path of the corpus is empty")
    path = Path(given)
    try:
        if path.is_file():
            return _read_text(path), str(path.resolve())
        if path.is_dir():
            return _read_folder(path), str(path.resolve())
    except OSError as error:
        raise FaultError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    raise UsageError(missing(given))


def _corpus(
    name: str, splits: Splits, unit: Unit, source: str, alphabet: tuple[str, ...] = (), between: bytes = b""
) -> Corpus:
    found = alphabet_of(splits)
    if len(found) < 2:
        held = f"one symbol only, {found[0]!r}" if found else "nothing"
        raise UsageError(f"the text of {name} holds {held}: expected at least two different symbols")
    encoding = "latin-1" if unit == "byte" else "utf-8"
    digest = hashlib.sha256(splits[0].encode(encoding))
    for split in splits[1:]:
        digest.update(between + split.encode(encoding))
    alphabet = alphabet or found
    if unit == "word":
        alphabet = tuple(sorted({*found, *frequent_words(splits[0])}))
    train, validation, test = (encode_string(split, alphabet, unit) for split in splits)
    return Corpus(name, train, validation, test, alphabet, unit, source, digest.hexdigest())


def _read_text(path: Path) -> str:
    return text_of_bytes(path.read_bytes(), path)


def _read_folder(folder: Path) -> str:
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise UsageError(f"the folder {folder} holds no files: expected UTF-8 texts")
    texts, binary = [], []
    for path in paths:
        content = path.read_bytes()
        if is_binary(content):
            binary.append(str(path.relative_to(folder)))
        else:
            texts.append(text_of_bytes(content, path).strip("\n"))
    if binary:
        left_out = f"{', '.join(binary[:_SHOWN])}{f' and {len(binary) - _SHOWN} more' if len(binary) > _SHOWN else ''}"
        if not texts:
            raise UsageError(f"the folder {folder} holds binary files only ({left_out}): expected UTF-8 texts")
        warn_once(f"{folder}: binary files are left out: {left_out}")
    return "\n\n".join(text for text in texts if text)


def _by_position(text: str, name: str) -> Splits:
    """90, 5 and 5 % of the characters or bytes. A text in words is cut at the same places as one in characters."""
    if not text.strip():
        raise UsageError(f"the text of {name} is empty")
    if len(text) < SHORTEST_TEXT:
        raise UsageError(
            f"the text of {name} has {len(text)} characters, too few to split: expected {SHORTEST_TEXT} or more"
        )
    first, second = len(text) * 90 // 100, len(text) * 95 // 100
    return text[:first], text[first:second], text[second:]
