import errno
import os
import resource
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.files import json_object, read_whole, remove_stale, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def test_the_file_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    write_whole(path, memoryview(b"new"))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.txt"]


def test_the_old_file_is_kept_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, kept = tmp_path / "a.txt", tmp_path / "before.txt"
    write_whole(path, b"1", keep=kept)
    assert names(tmp_path) == ["a.txt"]
    for new in (b"2", b"3"):
        old = path.read_bytes()
        write_whole(path, new, keep=kept)
        assert (path.read_bytes(), kept.read_bytes()) == (new, old)
    assert names(tmp_path) == ["a.txt", "before.txt"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", b"")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["open", "fsync of the file", "replace", "fsync of the folder"])
def test_a_full_disk_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr(Path, "open", refuse)
        elif call == "replace":
            patch.setattr(Path, "replace", refuse)
        else:
            real, is_for_folder = os.fsync, call == "fsync of the folder"
            patch.setattr(os, "fsync", lambda fd: refuse() if is_folder(fd) == is_for_folder else real(fd))
        with pytest.raises(FaultError, match=r"^\S*a\.txt: cannot be written: No space left on device$"):
            write_whole(path, b"new")
    assert path.read_bytes() == (b"new" if call == "fsync of the folder" else b"old")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("allowed", [0, 1, 65_536, 199_999])
def test_a_write_that_the_system_cuts_short(tmp_path: Path, allowed: int) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, hard))
    try:
        with pytest.raises(FaultError, match="cannot be written: File too large"):
            write_whole(path, b"x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_ctrl_c_removes_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.txt", b"new")
    assert names(tmp_path) == []


def test_a_folder_that_is_missing_and_one_in_the_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="No such file or directory"):
        write_whole(tmp_path / "none" / "a.txt", b"")
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(FaultError, match="Is a directory"):
        write_whole(tmp_path / "a.txt", b"")


def test_stale_files_go_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", die)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "a.txt", b"part")
    others = [".a.txt.tmp", ".b.txt.0123abcd.tmp", "a.txt", ".a.txt.0123abcd.tmp~"]
    for name in others:
        (tmp_path / name).touch()
    assert len(names(tmp_path)) == 5
    remove_stale(tmp_path, ["a.txt"])
    assert names(tmp_path) == sorted(others)


def test_reading_what_is_no_file_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(UsageError, match=r"a\.txt: no such file"):
        read_whole(path)
    with pytest.raises(UsageError, match="is not a regular file"):
        read_whole(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is not a regular file"):
        read_whole(tmp_path / "pipe")
    path.write_bytes(b"12345")
    assert read_whole(path, 5) == b"12345"
    with pytest.raises(UsageError, match="is larger than 4 bytes"):
        read_whole(path, 4)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FaultError, match="cannot be read: No space left"):
        read_whole(path)


NO_OBJECTS = {
    "nothing": b"",
    "cut short": b"{",
    "a list": b"[]",
    "a number": b"1",
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "no UTF-8": b"\xff",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", NO_OBJECTS)
def test_json_that_is_no_object_is_one_clear_line(name: str) -> None:
    with pytest.raises(UsageError, match=r"^the place: [^\n]*$"):
        json_object(NO_OBJECTS[name], "the place")


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_a_usage_error(data: bytes) -> None:
    with suppress(UsageError):
        assert isinstance(json_object(data, "the place"), dict)
