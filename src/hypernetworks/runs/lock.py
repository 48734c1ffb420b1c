"""One process at a time writes a folder: a file in it, locked by the system, tells which.

The system drops a lock with the process that holds it, however that ends, so no lock outlives a kill, and a process number
that was given out again misleads nobody. Locks of a file system may not reach other machines: a file that names another one
is taken at its word.
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
"""The file's name; it is gone when its writer has left in order."""

_LIMIT = 1 << 12  # bytes; it holds three short values


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """While this context is open, no other process enters it with the same folder, which is made where it is missing.

    Raises:
        UsageError: a process, which is named, writes there; or one of another machine did and never left in order.
        FaultError: the system refused, or its file system has no locks.
    """
    make_folder(folder)
    path = folder / LOCK
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    if os.path.lexists(path) and not path.is_file():  # a pipe would never end
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
    """The locked file names this process while the context is open."""
    host, pid, since = _named(path)
    if host not in (platform.node(), _UNKNOWN):
        raise UsageError(
            f"{path.parent}: process {pid} on {host} began to write here on {since}, and has not left in order: "
            f"if it has ended, remove {path}"
        )
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    mark = json.dumps({"host": platform.node(), "pid": os.getpid(), "since": now}).encode()
    try:
        path.write_bytes(mark)  # in place: another file would not be the locked one
    except OSError as error:
        raise FaultError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        with suppress(OSError):  # one that stays names a process that is gone
            if path.read_bytes() == mark:  # else a user removed it, and it is another's by now
                path.unlink()


_UNKNOWN = "an unknown machine"


def _named(path: Path) -> tuple[str, int | str, str]:
    """Host, process and time that the file names; placeholders where its writer was killed before it wrote them."""
    with suppress(UsageError, FaultError):
        match json_object(read_whole(path, _LIMIT), str(path)):
            case {"host": str(host), "pid": int(pid), "since": str(since)}:
                return host, pid, since
    return _UNKNOWN, "?", "a moment ago"
