"""Files written atomically and read with a size limit."""

import json
import os
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypernetworks.errors import FaultError, UsageError

__all__ = ["json_object", "make_folder", "named_folder", "read_whole", "remove_stale", "sync_folder", "write_whole"]

_STALE = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")


def write_whole(path: Path, data: bytes | memoryview, keep: Path | None = None) -> None:
    """Write `data` to `path` atomically: a reader finds the old file or the new one, never a part.

    The steps: write a temporary file in the same folder (a rename is atomic only within one file system), sync it (else the
    rename may reach the disk before the data), rename it, and sync the folder (which stores the rename). A process
    killed in between leaves the old file and a temporary one, which `remove_stale` recognises by its name.

    Args:
        path: the file.
        data: its content.
        keep: a name in the same folder for the old file, which is renamed just before the new file is. Between the two renames
            `path` does not exist and `keep` is the old file.

    Raises:
        FaultError: the system refused a step (disk full, permissions). The temporary file is removed. The old file is
        unchanged,
            unless only the last step failed: then the new file is in place, complete.
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
            with suppress(OSError):  # report the first failure
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_whole(path: Path, limit: int | None = None) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: the file.
        limit: the largest size accepted, in bytes; None: any.

    Raises:
        UsageError: the file does not exist, is not a regular file (reading a pipe would never end), or exceeds the limit.
        FaultError: the file could not be read.
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
    """Remove the temporary files that killed calls of `write_whole` left in `folder` while writing any of `names`.

    Only the process that holds the folder's lock may call this: the temporary file of a running writer looks the same.

    Raises:
        FaultError: a file could not be removed.
    """
    try:
        for path in folder.iterdir():
            match = _STALE.fullmatch(path.name)
            if match and match["name"] in names:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise FaultError(f"{folder}: stale temporary files cannot be removed: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if they do not exist.

    Raises:
        UsageError: a file has the name of one of them.
        FaultError: a folder could not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{folder}: is a file, expected a folder") from error
    except OSError as error:
        raise FaultError(f"{folder}: cannot be made: {error.strerror or error}") from error


def check_empty(folder: Path, instead: str, besides: Collection[str] = ()) -> None:
    """Check that a folder holds nothing.

    Args:
        folder: an existing folder.
        instead: what to do else, for the message.
        besides: names that it may hold.

    Raises:
        UsageError: it holds something.
        FaultError: it cannot be read.
    """
    try:
        found = sorted(path.name for path in folder.iterdir() if path.name not in besides)
    except OSError as error:
        raise FaultError(f"{folder}: cannot be read: {error.strerror or error}") from error
    if found:
        raise UsageError(f"{folder}: holds other files ({found[0]!r}, …): {instead}")


def named_folder(folder: str | Path) -> Path:
    """The path of a folder; UsageError for an empty text, which would be the current folder."""
    if folder == "":
        raise UsageError("folder should be the name of a folder, got an empty text")
    return Path(folder)


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of `folder` to disk; OSError if the system refuses. Windows cannot, and nothing is done."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_object(data: bytes, place: str) -> dict[str, Any]:
    """Parse a JSON object; UsageError, which names `place`, if `data` is not one."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        value = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # ValueError also for invalid UTF-8 and huge numbers
        raise UsageError(f"{place}: not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise UsageError(f"{place}: holds a {type(value).__name__}, expected a JSON object")
    return value
