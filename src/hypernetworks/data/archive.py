"""An archive that holds all files of a data set: download, check, and extract the missing files."""

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
    """A .tar.gz file with the files of a data set, under the names that they are looked up by."""

    url: str
    """Where to download it."""
    size: int
    """Its size in bytes, compressed."""
    sha256: str
    """The checksum of the compressed file."""

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rpartition("/")[2]

    def fetch(self, files: Iterable[DataFile], data_dir: Path | None = None) -> None:
        """Download the archive and write some of its files, under their last names.

        Other members are not read, and no member is written under a name that the archive chooses. Optional files are written
        first: after an interruption a required file is still missing, so everything missing is fetched again.

        Args:
            files: the files to extract.
            data_dir: where to write them; None: the user's cache.

        Raises:
            UsageError: the place to write to is not a folder.
            FaultError: the archive could not be downloaded, is not the expected one, or a file could not be written.
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
