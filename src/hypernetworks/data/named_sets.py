"""Named data sets: find, fetch and list their files."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from hypernetworks.data.archive import Archive
from hypernetworks.data.data_file import DataFile, Obtained, locate, obtain, search_folders
from hypernetworks.errors import UsageError

__all__ = ["DataRow", "NamedSet", "get", "list_data", "nearest", "obtain_all"]


@dataclass(frozen=True)
class NamedSet:
    """A named data set and its files. Experiments add how the files are read."""

    what: str
    files: tuple[DataFile, ...]
    archive: Archive | None = field(default=None, kw_only=True)
    """The archive to extract missing files from; None: each file is fetched separately."""

    def missing(self, data_dir: Path | None = None) -> list[DataFile]:
        """The missing files, if a required one is among them; else none."""
        absent = [file for file in self.files if locate(file, data_dir) is None]
        return [] if all(file.optional for file in absent) else absent


@dataclass(frozen=True)
class DataRow:
    """An entry of the list of data sets: where it was found, or how to get it."""

    name: str
    what: str
    size: str
    where: str


def obtain_all(named: NamedSet, data_dir: Path | None = None) -> list[Obtained]:
    """Find or fetch the files of a data set. Optional files that are missing are left out.

    Raises:
        UsageError: a file is wrong, or must be provided by the user.
        FaultError: a file could not be read, fetched or written.
    """
    if named.archive and (missing := named.missing(data_dir)):
        named.archive.fetch(missing, data_dir)
    return [obtain(file, data_dir) for file in named.files if not file.optional or locate(file, data_dir) is not None]


def get(name: str, sets: Mapping[str, NamedSet], data_dir: Path | None = None) -> tuple[Path, ...]:
    """The paths of the files of a named data set. Missing files are fetched.

    Raises:
        UsageError: no data set has this name, a file is wrong, or a file must be provided by the user.
        FaultError: a file could not be read, fetched or written.
    """
    if name not in sets:
        raise UsageError(f"no data set {name!r}: {nearest(name, sets)}")
    return tuple(obtained.path for obtained in obtain_all(sets[name], data_dir))


def list_data(sets: Mapping[str, NamedSet], data_dir: Path | None = None) -> tuple[DataRow, ...]:
    """One entry per named data set. Nothing is fetched or read.

    Raises:
        UsageError: `data_dir` is not a folder.
    """
    if data_dir is not None and not search_folders(data_dir)[0].is_dir():
        raise UsageError(f"data_dir should be a folder that exists, got {data_dir}")
    rows = []
    for name, named in sets.items():
        found = [place for file in named.files if (place := locate(file, data_dir)) is not None]
        missing = [file for file in named.missing(data_dir) if not file.optional]
        origins = [named.archive.url] if named.archive else [file.origin for file in missing]
        size = "-"
        where = ", ".join(map(str, found))
        if not missing:
            size = f"{sum(place.stat().st_size for place in found) / 1e6:.1f} MB"
        elif all(origins):
            where = "fetched on first use: " + ", ".join(map(str, origins))
        else:
            names = ", ".join(file.names[0] for file in missing)
            where = f"put {names} in the folder of --data-dir or $HYPERNETWORKS_DATA"
        rows.append(DataRow(name, named.what, size, where))
    return tuple(rows)


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar name, if any, and all names, for an error message."""
    known = list(names)
    near = get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}expected {', '.join(known)}"
