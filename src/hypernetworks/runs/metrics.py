"""`metrics.jsonl`: one JSON object per line, appended during training, cut back to the last commit on resume."""

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
    """The writer of the file; it keeps everything that it wrote."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self._written = bytearray(data)

    @classmethod
    def start(cls, path: Path) -> "Metrics":
        """Start with an empty file; FaultError if it could not be written."""
        write_whole(path, b"")
        return cls(path, b"")

    @classmethod
    def restore(cls, path: Path, committed: str) -> "Metrics":
        """Continue after the committed lines. Later lines are cut off.

        The file is always replaced, never changed in place: in a copied folder it may be a link to another run's file.

        Raises:
            FaultError: the file could not be written.
        """
        data = committed.encode()
        if not _begins_with(path, data):
            print(f"{path}: damaged, changed or missing: restored from the last commit", file=sys.stderr)
        write_whole(path, data)
        return cls(path, data)

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; FaultError if a number in it is not finite, or the file could not be written."""
        try:
            line = json.dumps(row, allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise FaultError(f"{self.path}: {row} holds a number that is not finite") from error
        with self._at_end() as file:
            file.write(line)
        self._written += line  # if Ctrl-C arrives before this, the next line overwrites this one

    def sync(self) -> str:
        """Sync the file to disk and return its lines, for a commit; FaultError as for `append`."""
        with self._at_end() as file:
            os.fsync(file.fileno())
        return self._written.decode()

    @contextmanager
    def _at_end(self) -> Iterator[BinaryIO]:
        """Open the file at the end of what was written. A partial line, left by a full disk, is cut off."""
        length = len(self._written)
        try:
            with self.path.open("r+b") as file:
                if file.seek(0, os.SEEK_END) < length:
                    raise FaultError(f"{self.path}: was truncated by another program while the run wrote to it")
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
    """Return the rows. An incomplete last line is left out: it is being written, or its writer was killed.

    Raises:
        UsageError: the file is missing, or a line is not a JSON object; the message names the line.
        FaultError: the file could not be read.
    """
    lines = read_whole(path).split(b"\n")[:-1]
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
