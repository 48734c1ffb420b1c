"""Data sets that are known by name: their files found, fetched and listed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from hypernetworks.data.archive import Archive
from hypernetworks.data.data_file import DataFile, Obtained, locate, obtain
from hypernetworks.errors import UsageError

__all__ = ["DataRow", "NamedSet", "get", "list_data", "nearest", "obtain_all"]


@dataclass(frozen=True)
class NamedSet:
    """A set that is known by name: what it is, and its files. Experiments add how these are read."""

    what: str
    files: tuple[DataFile, ...]
    archive: Archive | None = field(default=None, kw_only=True)
    """What the files are taken from where one that the set needs is missing; None: each comes by itself."""

    def missing(self, data_dir: Path | None = None) -> list[DataFile]:
        """The files that are nowhere, where the set needs one of them; else none."""
        absent = [file for file in self.files if locate(file, data_dir) is None]
        return [] if all(file.optional for file in absent) else absent


@dataclass(frozen=True)
class DataRow:
    """A named set as a user sees it listed: where it was found, or how it is to be had."""

    name: str
    what: str
    size: str
    where: str


def obtain_all(named: NamedSet, data_dir: Path | None = None) -> list[Obtained]:
    """A set's files, found or fetched, but those that it can be without and that are nowhere.

    Raises:
        UsageError: a file is wrong or has to be put in place by the user.
        FaultError: a file could not be read, fetched or written.
    """
    if named.archive and (missing := named.missing(data_dir)):
        named.archive.fetch(missing, data_dir)
    return [obtain(file, data_dir) for file in named.files if not file.optional or locate(file, data_dir) is not None]


def get(name: str, sets: Mapping[str, NamedSet], data_dir: Path | None = None) -> tuple[Path, ...]:
    """The places of a named set's files, fetched where they are missing.

    Raises:
        UsageError: there is no such set, or a file of it is wrong or has to be put in place by the user.
        FaultError: a file could not be read, fetched or written.
    """
    if name not in sets:
        raise UsageError(f"no data set {name!r}: {nearest(name, sets)}")
    return tuple(obtained.path for obtained in obtain_all(sets[name], data_dir))


def list_data(sets: Mapping[str, NamedSet], data_dir: Path | None = None) -> tuple[DataRow, ...]:
    """A row for each named set; nothing is fetched and nothing is read."""
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
    """A guess at what was meant, and what is expected."""
    known = list(names)
    near = get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}expected {', '.join(known)}"
