"""Text that a model made, or that a user gave, on a terminal."""

import sys
import unicodedata

__all__ = ["printable", "shown"]


def printable(text: str) -> str:
    """The text with control characters, which a terminal would obey, as escapes such as \\x1b; newlines and tabs stay."""
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def shown(text: str) -> str:
    """The text as standard output gets it: `printable` if that is a terminal, else as it is."""
    return printable(text) if sys.stdout.isatty() else text
