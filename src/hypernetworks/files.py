"""Files that are whole or not there: written beside, made durable, renamed; read with a bound on their size."""

import json
import os
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypernetworks.errors import FaultError, UsageError

__all__ = ["json_object", "make_folder", "read_whole", "remove_stale", "sync_folder", "write_whole"]

_STALE = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")


def write_whole(path: Path, data: bytes | memoryview, keep: Path | None = None) -> None:
    """Write ``data`` to ``path`` so that a reader finds the old file or the new one, at any moment, never a part.

    The order: a temporary file in the same folder (a rename is atomic within one file system only), its bytes
    forced to disk (else the rename may reach the disk before them), the rename, and the folder forced to disk
    (the rename itself lives there). A process killed on the way leaves the old file and a temporary one, which
    ``remove_stale`` knows by its name.

    ``keep`` is a name in the same folder for the old file, given just before the rename: between the two, ``path`` is
    missing, and what is under ``keep`` is the old file.

    Raises:
        FaultError: the system refused a step (disk full, permission). The temporary file is gone; the old file
            is as it was, except where the last step alone failed: then the new one is in place, whole.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # the first failure is the one to tell of
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_whole(path: Path, limit: int | None = None) -> bytes:
    """Return the bytes of the regular file ``path``; ``limit`` is the largest size accepted, in bytes (default: any).

    Raises:
        UsageError: there is no such file, it is no regular file (a pipe would never end), or it is over the limit.
        FaultError: the system refused to read it.
    """
    try:
        if not path.is_file():
            raise UsageError(f"{path}: {'is not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            data = file.read() if limit is None else file.read(limit + 1)
    except OSError as error:
        raise FaultError(f"{path}: cannot be read: {error.strerror or error}") from error
    if limit is not None and len(data) > limit:
        raise UsageError(f"{path}: is larger than {limit:,} bytes, the most expected of such a file")
    return data


def remove_stale(folder: Path, names: Collection[str]) -> None:
    """Remove what killed calls of ``write_whole`` left in ``folder`` while writing any of ``names``.

    Only for the one process that writes there: the temporary file of a live writer looks the same.

    Raises:
        FaultError: the system refused.
    """
    try:
        for path in folder.iterdir():
            match = _STALE.fullmatch(path.name)
            if match and match["name"] in names:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise FaultError(f"{folder}: stale temporary files cannot be removed: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        UsageError: a file stands in the place of one.
        FaultError: the system refused.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder}: a file stands where the run's folder would be: give another --out") from error
    except OSError as error:
        raise FaultError(f"{folder}: cannot be made: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Force the names in ``folder`` to disk; OSError where the system refuses."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_object(data: bytes, place: str) -> dict[str, Any]:
    """Return the JSON object that ``data`` spells; UsageError, which names ``place``, where it spells none."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number of JSON")

    try:
        value = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # ValueError: also bytes that are no UTF-8, numbers without end
        raise UsageError(f"{place}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise UsageError(f"{place}: holds a {type(value).__name__}, expected a JSON object")
    return value
