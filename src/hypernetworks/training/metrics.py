"""``metrics.jsonl``: one JSON object a line, appended while training, cut back to a commit when it is resumed."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hypernetworks.training.errors import FaultError, UsageError
from hypernetworks.training.files import json_object, read_whole, write_whole

__all__ = ["Metrics", "read_metrics"]


class Metrics:
    """The one writer of the file; it knows the length and the SHA-256 of all that it wrote."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        # Length and digest change in one assignment: Ctrl-C between two would make them contradict each other.
        self._written = (len(data), hashlib.sha256(data))

    @classmethod
    def start(cls, path: Path) -> "Metrics":
        """Begin with an empty file; FaultError where the system refuses."""
        write_whole(path, b"")
        return cls(path, b"")

    @classmethod
    def cut(cls, path: Path, length: int, sha256: str) -> "Metrics":
        """Go on after the first ``length`` bytes of a file, which must have this SHA-256; the rest is cut off.

        Raises:
            UsageError: the file is missing, or shorter, or those bytes are others.
            FaultError: the system refused.
        """
        data = read_whole(path)
        if len(data) < length:
            raise UsageError(f"{path}: has {len(data):,} bytes, expected at least the {length:,} of the last commit")
        if hashlib.sha256(data[:length]).hexdigest() != sha256:
            raise UsageError(f"{path}: its first {length:,} bytes changed since the last commit: put the old ones back")
        metrics = cls(path, data[:length])
        metrics.sync()
        return metrics

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one line; FaultError where a number in it is not finite or the system refuses."""
        try:
            line = json.dumps(row, allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise FaultError(f"{self.path}: {row} holds a number that is not finite") from error
        length, digest = self._written
        with self._at_end() as file:
            file.write(line)
        digest = digest.copy()
        digest.update(line)
        self._written = (length + len(line), digest)

    def sync(self) -> dict[str, Any]:
        """Force the file to disk; return its length and SHA-256, as a commit keeps them; FaultError as ``append``."""
        with self._at_end() as file:
            os.fsync(file.fileno())
        length, digest = self._written
        return {"metrics_length": length, "metrics_sha256": digest.hexdigest()}

    @contextmanager
    def _at_end(self) -> Iterator[BinaryIO]:
        """Open the file at the end of what was written; part of a line that failed on a full disk is cut off."""
        length, _ = self._written
        try:
            with self.path.open("r+b") as file:
                if file.seek(0, os.SEEK_END) < length:
                    raise FaultError(f"{self.path}: was cut short by something else while the run wrote to it")
                file.truncate(length)
                file.seek(length)
                yield file
        except OSError as error:
            raise FaultError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows. A last line without its end is left out: it is being written, or its writer was killed.

    Raises:
        UsageError: the file is missing, or a line is not a JSON object; the line is named.
        FaultError: the system refused to read.
    """
    lines = read_whole(path).split(b"\n")[:-1]
    return [json_object(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
