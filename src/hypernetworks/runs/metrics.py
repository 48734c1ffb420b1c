"""``metrics.jsonl``: one JSON object a line, appended while training, cut back to a commit when it is resumed."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, read_whole, write_whole

__all__ = ["Metrics", "read_metrics"]


class Metrics:
    """The one writer of the file; it knows all that it wrote."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._written = bytearray(data)

    @classmethod
    def start(cls, path: Path) -> "Metrics":
        """Begin with an empty file; FaultError where the system refuses."""
        write_whole(path, b"")
        return cls(path, b"")

    @classmethod
    def restore(cls, path: Path, committed: str) -> "Metrics":
        """Go on after the committed lines; what is past them is cut off, a file that has others is made again.

        The file is written anew in any case: one in someone else's folder may be a link to a file that is not theirs.

        Raises:
            FaultError: the system refused.
        """
        data = committed.encode()
        if not _begins_with(path, data):
            print(f"{path}: damaged, changed or missing: made again as of the last commit", file=sys.stderr)
        write_whole(path, data)
        return cls(path, data)

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; FaultError where a number in it is not finite or the system refuses."""
        try:
            line = json.dumps(row, allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise FaultError(f"{self.path}: {row} holds a number that is not finite") from error
        with self._at_end() as file:
            file.write(line)
        self._written += line  # where Ctrl-C comes before this, the next line is written over this one

    def sync(self) -> str:
        """Force the file to disk; return its lines, as a commit keeps them; FaultError as ``append``."""
        with self._at_end() as file:
            os.fsync(file.fileno())
        return self._written.decode()

    @contextmanager
    def _at_end(self) -> Iterator[BinaryIO]:
        """Open the file at the end of what was written; part of a line that failed on a full disk is cut off."""
        length = len(self._written)
        try:
            with self.path.open("r+b") as file:
                if file.seek(0, os.SEEK_END) < length:
                    raise FaultError(f"{self.path}: was cut short by something else while the run wrote to it")
                file.truncate(length)
                file.seek(length)
                yield file
        except OSError as error:
            raise FaultError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _begins_with(path: Path, data: bytes) -> bool:
    try:
        return read_whole(path).startswith(data)
    except UsageError:
        return False


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows. A last line without its end is left out: it is being written, or its writer was killed.

    Raises:
        UsageError: the file is missing, or a line is not a JSON object; the line is named.
        FaultError: the system refused to read.
    """
    lines = read_whole(path).split(b"\n")[:-1]
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
