"""Folders of libraries, such as the user's cache. Each has a manifest: what it was compiled from, and for which machines.

`kernels-KEY.so` is a library, `kernels-KEY.json` its manifest. KEY is a digest of what the library depends on: sources, flags,
processor, C library, OpenMP. Neither the compiler nor the release of the system is part of it, so a library that is there is
used without a compiler.

A library is code, so it is loaded only from a folder and a file that no other user can write to, and only if it has the SHA-256
of its manifest: a truncated or exchanged file is compiled again.
"""

import hashlib
import json
import os
import platform
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, read_whole, remove_stale, sync_folder, write_whole

from .compiler import SOURCES, BuildError, extra_flags
from .processor import instructions, libc

_LIMIT = 1 << 16  # bytes of a manifest
_PART = "building-"


@dataclass(frozen=True)
class Made:
    """What a library depends on."""

    sources: str
    """Digest of all sources."""
    flags: tuple[str, ...]
    """Those of the user."""
    machine: str
    instructions: tuple[str, ...]
    """Of the processor, sorted."""
    libc: tuple[str, tuple[int, ...]]
    openmp: bool

    def key(self) -> str:
        """The part of the file's name."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:16]

    def runs_on(self, here: "Made") -> bool:
        """Whether this machine has all that the library was compiled for."""
        return (
            (self.sources, self.flags, self.machine, self.libc[0])
            == (here.sources, here.flags, here.machine, here.libc[0])
            and set(self.instructions) <= set(here.instructions)
            and self.libc[1] <= here.libc[1]
        )


def made_here() -> Made:
    """What a library with OpenMP depends on if it is compiled here; BuildError if $HYPERNETWORKS_CXXFLAGS cannot be read."""
    digest = hashlib.sha256()
    for path in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    flags, name = tuple(extra_flags()), f"{platform.system()} {platform.machine()}"
    return Made(digest.hexdigest(), flags, name, tuple(sorted(instructions())), libc(), openmp=True)


@dataclass(frozen=True)
class Stored:
    """A library that may be loaded."""

    path: Path
    made: Made
    compiler: str
    """The version of the compiler."""


class Cache:
    """A folder of libraries.

    Args:
        folder: the folder. It is made by `prepare`.
        elsewhere: what to do where other users could change the folder.
    """

    def __init__(self, folder: Path, elsewhere: str = "set XDG_CACHE_HOME to a folder of your own") -> None:
        self.folder = folder
        self._elsewhere = elsewhere

    def prepare(self) -> None:
        """Make the folder if it is missing, for this user alone.

        Raises:
            OSError: it cannot be made.
            BuildError: other users can write to it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owner(self.folder)

    def find(self, made: Made) -> Stored | None:
        """The library compiled for exactly this, if it is there and whole.

        Raises:
            OSError: the folder cannot be read.
            BuildError: other users can write to the library or its folder.
        """
        return self._open(self.folder / f"kernels-{made.key()}.json", made)

    def compatible(self, here: Made) -> Stored | None:
        """A library compiled elsewhere that runs here: the one with the most instruction sets, with OpenMP if there is one."""
        return best(self.all().values(), here)

    def all(self) -> dict[str, Stored | None]:
        """Every library by the name of its file. None is one that is damaged."""
        manifests = sorted(self.folder.glob("kernels-*.json"))
        return {path.with_suffix(".so").name: self._open(path, None) for path in manifests}

    def store(self, library: Path, made: Made, compiler: str, name: str | None = None) -> Stored:
        """Move a library into its place, then write its manifest. Without a manifest, a library is not used.

        Args:
            library: the file.
            made: what it depends on.
            compiler: the version of the compiler.
            name: of the file, `kernels-NAME.so`, where libraries are not found by their key.
        """
        path = self.folder / f"kernels-{name or made.key()}.so"
        library.chmod(0o755)
        with library.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())  # else the name may reach the disk before the content
        library.replace(path)
        sync_folder(self.folder)
        manifest = {"format": 1, "sha256": digest, "compiler": compiler} | asdict(made)
        write_whole(path.with_suffix(".json"), (json.dumps(manifest, indent=2) + "\n").encode())
        return Stored(path, made, compiler)

    def part(self) -> Path:
        """A new folder for files of a compilation. The caller removes it; `clean` removes what a killed process left."""
        path = self.folder / f"{_PART}{os.getpid()}"
        path.mkdir(mode=0o700)
        return path

    def clean(self) -> None:
        """Remove what killed processes left. The caller holds the lock of the folder."""
        for path in self.folder.glob(f"{_PART}*"):
            shutil.rmtree(path, ignore_errors=True)
        remove_stale(self.folder, [path.with_suffix(".json").name for path in self.folder.glob("kernels-*.so")])

    def _open(self, manifest: Path, made: Made | None) -> Stored | None:
        """The library of a manifest, unless it is missing, damaged, or made of something else than `made`."""
        path = manifest.with_suffix(".so")
        if not (manifest.exists() and path.exists()):
            return None
        for each in (self.folder, manifest, path):
            self._check_owner(each)
        with suppress(UsageError, FaultError, KeyError, TypeError, ValueError):
            content = json_object(read_whole(manifest, _LIMIT), str(manifest))
            found = _made(content)
            whole = hashlib.sha256(path.read_bytes()).hexdigest() == content["sha256"]
            if whole and (made is None or found == made):
                return Stored(path, found, str(content["compiler"]))
        return None

    def _check_owner(self, path: Path) -> None:
        """BuildError if another user than this one and root can write to the file or folder."""
        found = path.stat()
        if found.st_uid not in (0, os.geteuid()):
            raise BuildError(f"{path} belongs to user {found.st_uid}, who could change it: {self._elsewhere}")
        if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid)):
            raise BuildError(f"other users can write to {path}: chmod -R go-w {self.folder}, or {self._elsewhere}")


def best(libraries: Iterable[Stored | None], here: Made) -> Stored | None:
    """The library that runs here with the most instruction sets, with OpenMP if there is one."""
    found = [stored for stored in libraries if stored is not None and stored.made.runs_on(here)]
    return max(found, key=lambda stored: (stored.made.openmp, len(stored.made.instructions)), default=None)


def _is_private(group: int) -> bool:
    """Whether a group is this user's own, with the user's name and no other members.

    Systems that give each user such a group, as Ubuntu does, make new files writable for it.
    """
    import grp  # Windows has neither
    import pwd

    try:
        found, user = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return found.gr_name == user and set(found.gr_mem) <= {user}


def _made(content: dict[str, Any]) -> Made:
    name, version = content["libc"]
    return Made(
        sources=content["sources"],
        flags=tuple(content["flags"]),
        machine=content["machine"],
        instructions=tuple(content["instructions"]),
        libc=(name, tuple(version)),
        openmp=content["openmp"],
    )
