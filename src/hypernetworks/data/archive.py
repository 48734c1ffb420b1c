"""An archive that holds all files of a set: fetched, checked, and the files that are missing taken out of it."""

import hashlib
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from gzip import BadGzipFile
from io import BytesIO
from pathlib import Path
from typing import Final

from hypernetworks.data.data_file import DataFile, keep, place_to_fetch
from hypernetworks.data.fetch import download, fetching
from hypernetworks.errors import UsageError

__all__ = ["Archive"]

_DAMAGE: Final = (tarfile.TarError, BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True)
class Archive:
    """A .tar.gz file with the files of a set in it, under the names that they are looked for by."""

    url: str
    """Where it is downloaded from."""
    size: int
    """Its bytes, as it comes."""
    sha256: str
    """The sum of these bytes."""

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.url.rpartition("/")[2]

    def fetch(self, files: Iterable[DataFile], data_dir: Path | None = None) -> None:
        """Fetch the archive, and write these of its files to `data_dir` (None: the user's cache), under their last names.

        No other member is read, and none is written under a name of the archive's own choice. The files that a set can
        be without come first: after an interruption one that it needs is missing still, and all that is missing is
        fetched again.

        Raises:
            UsageError: the place to write to is no folder.
            FaultError: the archive could not be fetched, is not the one expected, or a file could not be written.
        """
        folder = place_to_fetch(data_dir)
        wanted = {file.names[-1]: file for file in sorted(files, key=lambda file: not file.optional)}
        with fetching(f"{self.name} ({self.size / 1e6:.0f} MB)", self.url, f"unpack it in {folder}"):
            contents = self._members(download(self.url, self.size), wanted)
        for name in wanted:
            keep(folder / name, contents[name])

    def _members(self, packed: bytes, wanted: dict[str, DataFile]) -> dict[str, bytes]:
        found = hashlib.sha256(packed).hexdigest()
        if found != self.sha256:
            raise UsageError(f"{self.name}: has the sha256 {found}, expected {self.sha256}")
        contents = {}
        try:
            with tarfile.open(fileobj=BytesIO(packed), mode="r:gz") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.name in wanted and member.isreg() else None
                    if stream is not None and member.size <= wanted[member.name].limit:
                        contents[member.name] = stream.read()
        except _DAMAGE as error:
            raise UsageError(f"{self.name}: is damaged ({error})") from error
        if missing := [name for name in wanted if name not in contents]:
            raise UsageError(f"{self.name}: holds no {missing[0]} of the expected size")
        return contents
