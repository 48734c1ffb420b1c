"""The help texts of flags, prepared for tyro before it prints them.

The help of a flag is the docstring below its field. tyro keeps a line break of a docstring before an indented line, which
breaks sentences in the middle; it takes a text in the metadata of a field as it is. So each docstring is put there as one
paragraph. A setting that a command chooses itself is refused as a flag, and its help says what to give instead.
"""

import ast
import inspect
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import pairwise
from textwrap import dedent
from types import MappingProxyType
from typing import Any, get_type_hints

__all__ = ["prepare"]


def prepare(kind: type, refused: Mapping[str, str] | None = None) -> None:
    """Give every field of a command, and of the dataclasses in it, its help.

    Args:
        kind: the class of the command.
        refused: what to give instead of the settings that the command chooses itself, by their paths below `settings`.
    """
    instead = {f"settings.{path}": text for path, text in (refused or {}).items()}
    _prepare(kind, "", instead)


def _prepare(kind: Any, above: str, instead: Mapping[str, str]) -> None:
    texts, hints = _docstrings(kind), get_type_hints(kind)
    for item in fields(kind):
        path = above + item.name
        text = texts.get(item.name, "")
        if path in instead:
            text = f"Not here: this command chooses it; {instead[path]}."
        if text:
            item.metadata = MappingProxyType({**item.metadata, "help": text})
        if is_dataclass(hints[item.name]):
            _prepare(hints[item.name], f"{path}.", instead)


def _docstrings(kind: type) -> dict[str, str]:
    """The docstring below each field of a dataclass and those it inherits from, as one line."""
    found = {}
    for part in reversed(kind.__mro__):
        if not is_dataclass(part):
            continue
        with suppress(OSError):  # without its source a class has no help
            (made,) = ast.parse(dedent(inspect.getsource(part))).body
            for item, below in pairwise(made.body if isinstance(made, ast.ClassDef) else ()):
                match item, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = " ".join(text.split())
    return found
