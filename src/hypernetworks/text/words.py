"""A text as words and single characters, and back without loss.

    "I don't know,\n" = I · ␣ · don't · ␣ · know · , · ↵

A word is a run of letters and digits, with their combining marks and with apostrophes between them. Every other character is a
symbol of its own: a space, a newline, a sign, and a character of a script that is written without spaces between words, such as
Chinese. The alphabet of a corpus has its frequent words and all its characters. A word that it lacks is spelled by its
characters, so there is no symbol for the unknown, and each text has one sequence of symbols.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator
from functools import cache

__all__ = ["WORDS", "frequent_words", "spelled", "word_pattern", "words_of"]

WORDS = 10_000
"""The most words of an alphabet, as in the Penn Treebank. Each adds a row to the embedding and one to the head, which at every
step computes a logit for it."""

_FEWEST = 2
"""How often a word of the alphabet occurs in the training text, at least: from once, a model can hardly learn a row."""

# Thai and Lao, Burmese, Khmer, the signs 々〆〇, Hiragana and Katakana, and Chinese characters with all their extensions
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)


@cache
def word_pattern() -> str:
    """The regular expression whose matches are the words and the other characters of a text, one after the other."""
    # re has no class of combining marks; all but the selectors of variants, which belong to signs, are in these planes
    marks = "".join(sign for sign in map(chr, range(0x300, 0x20000)) if unicodedata.category(sign)[0] == "M")
    part = f"[^\\W_{_WITHOUT_SPACES}]+[{marks}]*"
    return f"(?s){part}(?:['’]?{part})*|."  # the typographic apostrophe


def words_of(text: str) -> Iterator[str]:
    """The words and the other characters of a text. Joined, they are the text.

    Example:
        >>> list(words_of("I don't know."))
        ['I', ' ', "don't", ' ', 'know', '.']
    """
    return (match[0] for match in re.finditer(word_pattern(), text))


def frequent_words(text: str) -> list[str]:
    """The words of at least two characters that occur more than once in a text: at most `WORDS`, the most frequent first.

    Words that are equally frequent are sorted by code point.
    """
    counts = Counter(word for word in words_of(text) if len(word) > 1)
    frequent = [word for word, count in counts.items() if count >= _FEWEST]
    return sorted(frequent, key=lambda word: (-counts[word], word))[:WORDS]


def spelled(text: str, known: Container[str]) -> Iterator[str]:
    """The words and other characters of a text, with the characters of a word instead of one that is not known."""
    for word in words_of(text):
        if word in known:
            yield word
        else:
            yield from word
