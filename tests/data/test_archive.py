"""An archive's files come out of it where they are missing, and nothing else does."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from hypernetworks.cache import cache_folder
from hypernetworks.data import archive as module
from hypernetworks.data.archive import Archive
from hypernetworks.data.data_file import DataFile
from hypernetworks.data.named_sets import NamedSet, get, list_data
from hypernetworks.errors import FaultError, UsageError

from .conftest import leftovers, put

pytestmark = pytest.mark.usefixtures("folders")

CONTENTS = {"set/needed-1": b"one" * 100, "set/needed-2": b"two" * 100, "set/more-1": b"m", "set/more-2": b"mm"}
FILES = tuple(DataFile((name,), limit=300, optional="more" in name) for name in CONTENTS)


def packed(contents: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda member: None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            change(member)
            made.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def served(server: ThreadingHTTPServer, content: bytes, sha256: str | None = None) -> NamedSet:
    server.files["/set.tar.gz"] = content  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{server.server_port}/set.tar.gz"
    return NamedSet("a set", FILES, archive=Archive(url, len(content), sha256 or hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize("given", [False, True])
def test_all_files_come_from_the_archive(tmp_path: Path, server: ThreadingHTTPServer, given: bool) -> None:
    named = served(server, packed(CONTENTS | {"set/readme": b"not asked for"}))
    data_dir = tmp_path / "given" if given else None
    if data_dir is not None:
        data_dir.mkdir()
    (before,) = list_data({"set": named}, data_dir)
    assert before.where == f"fetched on first use: {named.archive.url}"  # type: ignore[union-attr]
    paths = get("set", {"set": named}, data_dir)
    folder = tmp_path / "given" if given else cache_folder()
    assert {str(path.relative_to(folder)): path.read_bytes() for path in paths} == CONTENTS
    assert leftovers(tmp_path) == ["more-1", "more-2", "needed-1", "needed-2"]
    assert get("set", {"set": named}, data_dir) == paths
    assert server.asked == ["/set.tar.gz"]  # type: ignore[attr-defined]  (once for all, and not again)
    (after,) = list_data({"set": named}, data_dir)
    assert after.where == ", ".join(map(str, paths))


def test_a_part_that_is_of_use_is_left_as_it_is(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    paths = tuple(put(tmp_path / "variable" / "set", b"mine", name) for name in ("needed-1", "needed-2"))
    assert get("set", {"set": served(server, packed(CONTENTS))}) == paths
    assert server.asked == []  # type: ignore[attr-defined]


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    own = put(tmp_path / "given" / "set", b"mine", "needed-1")
    get("set", {"set": served(server, packed(CONTENTS))}, tmp_path / "given")
    assert own.read_bytes() == b"mine"
    assert leftovers(tmp_path) == ["more-1", "more-2", "needed-1", "needed-2"]


def test_after_an_interruption_at_any_file_the_rest_is_fetched(
    tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, keep = served(server, packed(CONTENTS)), module.keep
    for whole in range(len(FILES)):
        written: list[Path] = []

        def interrupted(path: Path, content: bytes, written: list[Path] = written, whole: int = whole) -> None:
            if len(written) == whole:
                raise KeyboardInterrupt
            written.append(path)
            keep(path, content)

        data_dir = tmp_path / str(whole)
        with monkeypatch.context() as patch:
            patch.setattr(module, "keep", interrupted)
            with pytest.raises(KeyboardInterrupt):
                get("set", {"set": named}, data_dir)
        paths = get("set", {"set": named}, data_dir)
        assert {str(path.relative_to(data_dir)): path.read_bytes() for path in paths} == CONTENTS


def a_link(member: tarfile.TarInfo) -> None:
    if member.name == "set/needed-1":
        member.type, member.linkname, member.size = tarfile.SYMTYPE, "/etc/hostname", 0


@pytest.mark.parametrize(
    ("content", "sha256", "words"),
    [
        (packed(CONTENTS), "0" * 64, "set.tar.gz: has the sha256 [0-9a-f]{64}, expected 0000"),
        (packed(CONTENTS)[:-40], None, "set.tar.gz: is damaged"),
        (b"no archive", None, "set.tar.gz: is damaged"),
        (packed({**CONTENTS, "set/needed-2": b"x" * 301}), None, "holds no set/needed-2 of the expected size"),
        (packed({"set/needed-1": b"x"}), None, "holds no set/more-1 of the expected size"),
        (packed({f"../{name}": content for name, content in CONTENTS.items()}), None, "holds no set/more-1"),
        (packed(CONTENTS, a_link), None, "holds no set/needed-1"),
    ],
    ids=["another", "cut off", "none", "too large", "a part", "slips out", "a link"],
)
def test_a_wrong_archive_is_a_fault_and_leaves_nothing(
    tmp_path: Path, server: ThreadingHTTPServer, content: bytes, sha256: str | None, words: str
) -> None:
    named = served(server, content, sha256)
    by_hand = f"to get it by hand, unpack it in {tmp_path / 'given'}"
    with pytest.raises(FaultError, match=words) as raised:
        get("set", {"set": named}, tmp_path / "given")
    assert str(raised.value).endswith(by_hand)
    assert "\n" not in str(raised.value)
    assert leftovers(tmp_path) == []


def test_more_than_was_announced_is_not_waited_for(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    named = served(server, packed(CONTENTS))
    server.files["/set.tar.gz"] += b"more"  # type: ignore[attr-defined]
    with pytest.raises(FaultError, match=r"more than \d+ bytes came"):
        get("set", {"set": named}, tmp_path / "given")


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        get("set", {"set": served(server, packed(CONTENTS))}, put(tmp_path))
