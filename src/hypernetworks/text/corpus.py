"""A corpus: a text as symbol ids in three splits, from a named set, a file or a folder.

`data_sets` has the named sets, their splits and their sources. A user's own text is split by position: the first 90 %, the next
5 % and the last 5 % of its characters.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hypernetworks.data.named_sets import obtain_all
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.text.alphabet import Unit, alphabet_of, decode, encode, text_of_bytes
from hypernetworks.text.data_sets import NAMED_SETS, Splits, no_such_corpus

__all__ = ["Corpus", "load_corpus"]

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
    """(characters,), uint8 if the alphabet has at most 256 symbols, else int32; likewise for the other splits."""

    validation: Tensor

    test: Tensor
    """Empty if the set has no test split."""

    alphabet: tuple[str, ...]
    """The symbols of all splits, sorted by code point; an id is an index into it."""

    unit: Unit
    """Character or byte; in a corpus of bytes, symbol chr(b) is byte b."""

    source: str
    """The files that it was read from."""

    sha256: str
    """The checksum of the text, all splits in order, in UTF-8 (for bytes, of the bytes)."""

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


def load_corpus(name_or_path: str, data_dir: Path | None = None) -> Corpus:
    """Load a named corpus, or a user's own text.

    Args:
        name_or_path: a name of `NAMED_SETS`, or the path of a UTF-8 file or a folder of such files. A folder is read
            recursively in sorted order, without names that start with a dot, and its texts are joined by a blank line. Use
            ./NAME for a file that has the name of a set.
        data_dir: the folder to look for a named set first, and to fetch it into; None: $HYPERNETWORKS_DATA and the user's
            cache.

    Raises:
        UsageError: no set, file or folder has this name, or the text is empty, not UTF-8, too short, or has only one symbol.
        FaultError: a file could not be read, fetched or written.
    """
    if name_or_path in NAMED_SETS:
        named = NAMED_SETS[name_or_path]
        found = obtain_all(named, data_dir)
        splits = named.read(found)
        return _corpus(name_or_path, splits, named.unit, ", ".join(str(file.path) for file in found))
    if not name_or_path:
        raise UsageError("the name or path of the corpus is empty")
    path = Path(name_or_path)
    try:
        if path.is_file():
            return _corpus(name_or_path, _by_position(_read_text(path), name_or_path), "character", str(path.resolve()))
        if path.is_dir():
            splits = _by_position(_read_folder(path), name_or_path)
            return _corpus(name_or_path, splits, "character", str(path.resolve()))
    except OSError as error:
        raise FaultError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    raise UsageError(no_such_corpus(name_or_path))


def _corpus(name: str, splits: Splits, unit: Unit, source: str) -> Corpus:
    alphabet = alphabet_of(splits)
    if len(alphabet) < 2:
        held = f"one symbol only, {alphabet[0]!r}" if alphabet else "nothing"
        raise UsageError(f"the text of {name} holds {held}: expected at least two different symbols")
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.encode("latin-1" if unit == "byte" else "utf-8"))
    # the strings consist of symbols already, also for bytes
    train, validation, test = (encode(split, alphabet) for split in splits)
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
    texts = (_read_text(path).strip("\n") for path in paths)
    return "\n\n".join(text for text in texts if text)


def _by_position(text: str, name: str) -> Splits:
    """90, 5 and 5 % of the characters."""
    if not text.strip():
        raise UsageError(f"the text of {name} is empty")
    if len(text) < SHORTEST_TEXT:
        raise UsageError(
            f"the text of {name} has {len(text)} characters, too few to split: expected {SHORTEST_TEXT} or more"
        )
    first, second = len(text) * 90 // 100, len(text) * 95 // 100
    return text[:first], text[first:second], text[second:]
