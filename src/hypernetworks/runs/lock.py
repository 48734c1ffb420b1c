"""A lock file: one process at a time writes to a folder.

The operating system releases the lock when the process ends, even if it is killed, so a stale lock or a reused process id
blocks nobody. On a shared file system the lock may not reach other machines. A lock file that names another machine is
therefore respected as it is.
"""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, make_folder, read_whole

__all__ = ["LOCK", "only_writer"]

LOCK = "run.lock"
"""The name of the file. It is removed when its writer ends normally."""

_LIMIT = 1 << 12  # bytes; the file holds three short values
_BINDING = os.name == "nt"
"""On Windows nobody can read or write a locked file, so it stays empty and names no process."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock a folder while the context is open. The folder is made if it is missing.

    Raises:
        UsageError: another process writes there, or one on another machine did and did not end normally. The message names it.
        FaultError: the file could not be locked, for example because the file system has no locks.
    """
    make_folder(folder)
    path = folder / LOCK
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    if os.path.lexists(path) and not path.is_file():  # reading a pipe would never end
        raise UsageError(f"{path}: is not a regular file: remove it")
    try:
        lock.acquire()
    except Timeout as error:
        host, pid, since = _named(path)
        raise UsageError(
            f"{folder}: process {pid} on {host} has been writing here since {since}: wait for its end, or give another --out"
        ) from error
    except OSError as error:
        raise FaultError(f"{path}: cannot be locked: {error.strerror or error}") from error
    try:
        with _mark(path):
            yield
    finally:
        lock.release()


@contextmanager
def _mark(path: Path) -> Iterator[None]:
    """Write the name of this process to the locked file while the context is open, where the system lets it be written."""
    if _BINDING:
        yield
        return
    host, pid, since = _named(path)
    if host not in (platform.node(), _UNKNOWN):
        raise UsageError(
            f"{path.parent}: process {pid} on {host} began to write here on {since}, and has not left in order: "
            f"if it has ended, remove {path}"
        )
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    mark = json.dumps({"host": platform.node(), "pid": os.getpid(), "since": now}).encode()
    try:
        path.write_bytes(mark)  # in place: a new file would not be the locked one
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # if the file stays, it names a process that has ended
            if path.read_bytes() == mark:  # else a user removed it, and it now belongs to another process
                path.unlink()


_UNKNOWN = "an unknown machine"


def _named(path: Path) -> tuple[str, int | str, str]:
    """Host, process and time in the file; placeholders if its writer was killed before it wrote them."""
    with suppress(UsageError, FaultError):
        match json_object(read_whole(path, _LIMIT), str(path)):
            case {"host": str(host), "pid": int(pid), "since": str(since)}:
                return host, pid, since
    return _UNKNOWN, "?", "a moment ago"
