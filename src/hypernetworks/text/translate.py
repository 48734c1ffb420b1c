"""Texts in the symbols of a model: a corpus, or a text of the user's own, may have another alphabet or another unit."""

from torch import Tensor

from hypernetworks.text.alphabet import Unit, decode, encode_string, string_of
from hypernetworks.text.config import Symbols
from hypernetworks.text.corpus import Corpus

__all__ = ["ids_of", "translate"]


def ids_of(text: str, unit: Unit, symbols: Symbols, first: int = 0) -> Tensor:
    """The ids (length,) of a string that consists of symbols for a model of other symbols.

    Args:
        text: the string, see `alphabet.string_of`.
        unit: what its symbols are.
        symbols: those of the model.
        first: how many of the model's symbols are read; 0: all. What is not read may have any.

    Raises:
        UsageError: the model lacks a character; the message names the first few and their positions.
    """
    if unit == "byte" != symbols.unit:
        text = text.encode("latin-1").decode("utf-8", "replace")
    if symbols.unit == "byte" != unit:
        text = string_of(text, "byte")
    return encode_string(text, symbols.alphabet, symbols.unit, first)


def translate(ids: Tensor, corpus: Corpus, symbols: Symbols) -> Tensor:
    """Ids of a corpus as ids of a model's symbols, see `ids_of`."""
    return ids_of(decode(ids, corpus.alphabet), corpus.unit, symbols)
