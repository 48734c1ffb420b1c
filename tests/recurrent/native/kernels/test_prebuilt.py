"""The package of prebuilt kernels: which library of it is used, and what serves where none can be."""

import importlib
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hypernetworks.doctor import Doctor
from hypernetworks.recurrent.native.kernels import ensure, stored

from .fake import LIBRARY, calls, fake_compiler

NOWHERE = "/nowhere/c++"


def add(folder: Path, name: str, content: bytes | None = None, **changes: object) -> Path:
    """A library of the package: a copy of the one that is built already, or this content."""
    new = folder / "new"
    shutil.copy(LIBRARY, new)
    if content is not None:
        new.write_bytes(content)
    made = replace(stored.made_here(), **changes)
    return stored.Cache(folder).store(new, made, "g++ of the wheel", name).path


@pytest.fixture
def package(first, monkeypatch, tmp_path: Path) -> Path:
    """The folder of an installed package without libraries."""
    folder = tmp_path / "site-packages" / "hypernetworks_kernels"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "hypernetworks_kernels")
    monkeypatch.syspath_prepend(folder.parent)
    importlib.invalidate_caches()
    return folder


def less(count: int) -> dict[str, tuple[str, ...]]:
    """All but `count` of the instruction sets of this processor."""
    return {"instructions": stored.made_here().instructions[count:]}


def damage(path: Path) -> None:
    """Another content, in another file: a loaded library may not change."""
    path.unlink()
    path.write_bytes(b"damaged")


def test_it_serves_without_a_compiler_a_cache_or_a_word(first, package):
    kept = add(package, "small", **less(1))
    assert first.succeeds(CXX=NOWHERE, XDG_CACHE_HOME="/dev/null") == []
    assert ensure().path == kept


def test_the_library_with_the_most_instruction_sets_is_used(first, package, monkeypatch, capsys):
    monkeypatch.setenv("CXX", NOWHERE)
    add(package, "small", **less(2))
    wide = add(package, "wide", **less(1))
    add(package, "wider", instructions=(*stored.made_here().instructions, "avx9000"))
    add(package, "newer", libc=(stored.made_here().libc[0], (99,)))
    assert first.succeeds() == []
    assert ensure().path == wide
    Doctor()()
    assert f"{wide}, compiled by g++ of the wheel, threads by OpenMP" in capsys.readouterr().out


def test_a_library_compiled_here_is_preferred_and_never_removed(first, package, tmp_path):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    add(package, "small", **less(1))
    assert ensure().compiler == "fake 1.0"
    assert first.succeeds(CXX=NOWHERE) == []


def test_it_is_preferred_to_the_compiler_but_not_for_flags_of_the_user(first, package, tmp_path):
    kept = add(package, "small", **less(1))
    assert first.succeeds(CXX=str(fake_compiler(tmp_path))) == []
    assert not calls(tmp_path).exists()
    assert ensure().path == kept
    assert "compiling" in first.succeeds(HYPERNETWORKS_CXXFLAGS="-DSOMETHING")[0]
    assert ensure().compiler == "fake 1.0"


def unusable(package: Path, how: str) -> str:
    """Make the package unusable. What the line of the log says."""
    match how:
        case "damaged":
            damage(add(package, "small", **less(1)))
            return "it is damaged (kernels-small.so): reinstall it"
        case "empty":
            return "it is damaged (it has no libraries): reinstall it"
        case "no manifest":
            (package / "kernels-small.json").write_text("{}")
            return "it is damaged (kernels-small.so): reinstall it"
        case "another version":
            add(package, "small", sources="others")
            return "it was built from other sources than this hypernetworks: pip install -U 'hypernetworks[kernels]'"
        case "another processor":
            add(package, "wide", instructions=("avx9000",))
            return "it has no library for this processor and C library"
        case "no library":
            add(package, "small", b"planted", **less(1))
            return "its library cannot be loaded ("
        case "writable folder":
            add(package, "small", **less(1))
            package.chmod(0o777)
            return f"other users can write to {package}: chmod -R go-w {package}, or install it into an environment of"
        case "writable library":
            add(package, "small", **less(1)).chmod(0o757)
            return f"other users can write to {package}/kernels-small.so: chmod -R go-w {package}, or install it into"
        case "unreadable":
            path = add(package, "small", **less(1))
            path.unlink()
            path.mkdir()
            return "Is a directory"
    raise AssertionError(how)


HOW = [
    *("damaged", "empty", "no manifest", "another version", "another processor", "no library"),
    *("writable folder", "writable library", "unreadable"),
]


@pytest.mark.parametrize("how", HOW)
def test_a_package_that_cannot_be_used_is_as_none_after_one_line(first, package, tmp_path, how):
    why = unusable(package, how)
    loaded, log = first(CXX=NOWHERE)
    assert not loaded
    assert [line.partition(": ")[0] for line in log] == [
        "hypernetworks-kernels is not used",
        "no native kernels, the reference path serves",
    ]
    assert why in log[0]
    lines = first.succeeds(CXX=str(fake_compiler(tmp_path)))
    assert lines[0] == log[0]
    assert lines[1].startswith("compiling the native kernels")
    assert first.succeeds() == []  # it is in the cache now


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_package_of_another_user_is_refused(first, package):
    os.chown(add(package, "small", **less(1)), 65534, 65534)
    _, log = first(CXX=NOWHERE)
    assert "small.so belongs to user 65534, who could change it: install it into an environment of your own" in log[0]


def test_beside_a_damaged_library_the_next_serves(first, package):
    small = add(package, "small", **less(2))
    damage(add(package, "wide", **less(1)))
    line = "hypernetworks-kernels is damaged (kernels-wide.so), kernels-small.so serves: reinstall it"
    assert first.succeeds(CXX=NOWHERE) == [line]
    assert ensure().path == small


def test_another_package_of_this_name_is_not_used(first, package):
    (package / "__init__.py").unlink()  # a folder without a module is a namespace, as any folder of this name would be
    add(package, "small", **less(1))
    assert "CXX=/nowhere/c++ is not there" in first(CXX=NOWHERE)[1][0]


def test_a_planted_library_in_the_cache_is_not_needed(first, package, tmp_path):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    (folder,) = (tmp_path / "cache").rglob("native")
    folder.chmod(0o777)
    kept = add(package, "small", **less(1))
    assert first.succeeds() == []
    assert ensure().path == kept
