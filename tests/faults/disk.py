"""A disk that fails at a chosen call: each call of this process that changes a folder is counted before it is made.

The calls are those of `os` and of files opened for writing; a write is two, so that a process can end within it. At the
chosen call the process ends as by SIGKILL, or it and all later ones are refused.

For power cuts a second folder, the platter, holds what a disk is bound to hold: the bytes of each file as of its last
fsync, the names of the folder as of its own last fsync.
"""

import errno
import io
import json
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Fault = Literal["kill", "full", "denied"]

_REFUSALS: dict[str, tuple[int, frozenset[str]]] = {
    "full": (errno.ENOSPC, frozenset({"create", "write", "fsync", "mkdir", "replace"})),
    "denied": (errno.EACCES, frozenset({"create", "open", "mkdir", "replace", "unlink"})),
}


class Platter:
    """What is bound to be on disk of the one folder `folder`, kept in the folder `place` of the same file system."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self.place = folder, place
        for name in ("bytes", "inodes"):
            (place / name).mkdir(parents=True)
        if folder.exists():  # all that is there is on disk
            for path in folder.iterdir():
                shutil.copyfile(path, place / "bytes" / str(path.stat().st_ino))
            self.sync_names()

    def created(self, path: Path) -> None:
        """A new file: it may have the number of one that is gone."""
        (self.place / "bytes" / str(path.stat().st_ino)).unlink(missing_ok=True)

    def sync_file(self, descriptor: int) -> None:
        """The bytes of a file are on disk."""
        copy = self.place / "bytes" / str(os.fstat(descriptor).st_ino)
        shutil.copyfile(f"/proc/self/fd/{descriptor}", copy)

    def sync_names(self) -> None:
        """The names of the folder are on disk; their files keep their numbers, so that no other file gets them."""
        names = {path.name: path.stat().st_ino for path in self.folder.iterdir()}
        for name, inode in names.items():
            if not (held := self.place / "inodes" / str(inode)).exists():
                held.hardlink_to(self.folder / name)
        (self.place / "names.json").write_text(json.dumps(names))

    def cut_power(self, lost: Literal["names", "bytes"]) -> None:
        """Make the folder what a disk may hold after a power cut.

        names: renames, new and removed files since the folder's last fsync are lost. bytes: these reached the disk, but
        no bytes of a file after its last fsync did. A folder that was never synced is gone, or holds empty files.
        """
        recorded = self.place / "names.json"
        if lost == "bytes":
            names = {path.name: path.stat().st_ino for path in self.folder.iterdir()} if self.folder.exists() else {}
        else:
            names = json.loads(recorded.read_text()) if recorded.exists() else {}
        shutil.rmtree(self.folder, ignore_errors=True)
        if names or recorded.exists():
            self.folder.mkdir()
        for name, inode in names.items():
            self.folder.mkdir(exist_ok=True)
            bytes_on_disk = self.place / "bytes" / str(inode)
            (self.folder / name).write_bytes(bytes_on_disk.read_bytes() if bytes_on_disk.exists() else b"")


class Disk:
    """Counts the calls on a folder from `install` on, and fails at number `at` (from 1; 0: never)."""

    def __init__(self, platter: Platter, fault: Fault, at: int) -> None:
        self.platter, self.fault, self.at = platter, fault, at
        self.calls: list[str] = []

    def install(self) -> None:
        """Put the counted calls in the place of those of `os` and `io`, for the rest of this process."""
        self._open, self._fsync = os.open, os.fsync
        self._file_open = io.open
        os.open, os.fsync, io.open = self.open, self.fsync, self.file_open  # type: ignore[assignment]
        for name in ("replace", "unlink", "mkdir"):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def call(self, name: str) -> None:
        """The process is about to make this call."""
        self.calls.append(name)
        if not self.at or len(self.calls) < self.at:
            return
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number, names = _REFUSALS[self.fault]
        if name in names:
            raise OSError(number, os.strerror(number))

    def _inside(self, path: Any) -> bool:
        place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 — not resolve(): what is asked for by name
        return place == self.platter.folder or self.platter.folder in place.parents

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, *given: Any, **named: Any) -> Any:
            if self._inside(path):
                self.call(name)
            return real(path, *given, **named)

        return counted

    def open(self, path: Any, flags: int, *given: Any, **named: Any) -> int:
        """os.open"""
        creates = flags & os.O_CREAT and self._inside(path) and not os.path.lexists(path)
        if creates:
            self.call("create")
        descriptor = self._open(path, flags, *given, **named)
        if creates:
            self.platter.created(Path(path))
        return descriptor

    def fsync(self, descriptor: int) -> None:
        """os.fsync"""
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        if not self._inside(path):
            return self._fsync(descriptor)
        self.call("fsync")
        # The harness cuts no real power: the real call would only cost its time.
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return self.platter.sync_names()
        return self.platter.sync_file(descriptor)

    def file_open(self, path: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        """io.open, which Path.open calls"""
        if isinstance(path, int) or not set(mode) & set("wax+") or not self._inside(path):
            return self._file_open(path, mode, *given, **named)
        is_new = not Path(path).exists()
        self.call("create" if is_new else "open")
        file = self._file_open(path, mode, *given, **named)
        if is_new:
            self.platter.created(Path(path))
        return _File(file, self)


class _File:
    """A file opened for writing, each write of it in two halves that reach the system at once."""

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def write(self, data: Any) -> None:
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            self._disk.call("write")
            self._file.write(part)
            self._file.flush()

    def truncate(self, size: int) -> None:
        self._disk.call("write")
        self._file.truncate(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
