"""Which libraries of the cache are used: those of these sources that run here and that nobody else could have changed."""

import grp
import hashlib
import json
import os
import pwd
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hypernetworks.recurrent.native.kernels import BuildError, ensure, stored

from .fake import calls, fake_compiler


@pytest.fixture
def cache(tmp_path: Path) -> stored.Cache:
    cache = stored.Cache(tmp_path / "native")
    cache.prepare()
    return cache


def store(cache: stored.Cache, made: stored.Made, content: bytes = b"library") -> stored.Stored:
    path = cache.folder / "new"
    path.write_bytes(content)
    return cache.store(path, made, "g++ 1")


def test_a_stored_library_is_found_by_what_it_was_made_from(cache):
    made = stored.made_here()
    assert cache.find(made) is None
    kept = store(cache, made)
    assert cache.find(made) == kept
    assert kept.path.read_bytes() == b"library"
    assert cache.find(replace(made, openmp=False)) is None


def test_the_key_holds_all_that_matters_and_no_more(monkeypatch, tmp_path):
    made = stored.made_here()
    others = [
        replace(made, sources="others"),
        replace(made, flags=("-O0",)),
        replace(made, machine="Linux aarch64"),
        replace(made, instructions=("sse",)),
        replace(made, libc=("glibc", (2, 5))),
        replace(made, openmp=False),
    ]
    assert len({made.key(), *(other.key() for other in others)}) == 1 + len(others)
    monkeypatch.setenv("CXX", "another compiler")
    assert stored.made_here().key() == made.key()
    monkeypatch.setenv("HYPERNETWORKS_CXXFLAGS", "-DSOMETHING")
    assert stored.made_here() == replace(made, flags=("-DSOMETHING",))
    monkeypatch.setattr(stored, "SOURCES", tmp_path)
    (tmp_path / "one.h").write_text("// one")
    one = stored.made_here().sources
    (tmp_path / "one.h").write_text("// two")
    assert len({made.sources, one, stored.made_here().sources}) == 3


@pytest.mark.parametrize(
    "damage", ["truncated", "foreign", "no library", "no manifest", "half a manifest", "of another key"]
)
def test_a_damaged_library_is_as_none(cache, damage):
    made = stored.made_here()
    path = store(cache, made).path
    manifest = path.with_suffix(".json")
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:3])
        case "foreign":
            path.write_bytes(b"planted")
        case "no library":
            path.unlink()
        case "no manifest":
            manifest.unlink()
        case "half a manifest":
            manifest.write_text(manifest.read_text()[:100])
        case "of another key":
            other = replace(made, sources="others")
            manifest.write_text(store(cache, other).path.with_suffix(".json").read_text())
    assert cache.find(made) is None
    assert store(cache, made) == cache.find(made)


def group_of(monkeypatch, name: str, *members: str) -> None:
    """Every group has this name and these members."""
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_name=name, gr_mem=list(members)))


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_to_is_refused(cache, mode, monkeypatch):
    group_of(monkeypatch, "staff")
    made = stored.made_here()
    store(cache, made)
    cache.folder.chmod(mode)
    for attempt in (lambda: cache.find(made), lambda: cache.compatible(made), cache.prepare):
        with pytest.raises(BuildError, match=r"other users can write to .*native"):
            attempt()


@pytest.mark.parametrize("suffix", [".so", ".json"])
def test_a_file_that_others_can_write_to_is_refused(cache, suffix):
    made = stored.made_here()
    store(cache, made).path.with_suffix(suffix).chmod(0o666)
    with pytest.raises(
        BuildError, match=f"other users can write to .*{suffix}: chmod -R go-w {cache.folder}, or set XDG"
    ):
        cache.find(made)


def test_a_group_of_this_user_alone_may_write(cache, monkeypatch):
    user = pwd.getpwuid(os.geteuid()).pw_name
    made = stored.made_here()
    kept = store(cache, made)
    for path in (cache.folder, kept.path, kept.path.with_suffix(".json")):
        path.chmod(path.stat().st_mode | 0o020)
    for members in ((), (user,)):
        group_of(monkeypatch, user, *members)
        assert cache.find(made) == kept
    for name, members in ((user, (user, "another")), ("staff", (user,))):
        group_of(monkeypatch, name, *members)
        with pytest.raises(BuildError, match="other users can write to"):
            cache.find(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_library_of_another_user_is_refused(cache):
    made = stored.made_here()
    os.chown(store(cache, made).path, 65534, 65534)
    with pytest.raises(BuildError, match="belongs to user 65534"):
        cache.find(made)


def test_a_library_made_for_less_is_compatible(cache):
    made = stored.made_here()
    less = replace(made, instructions=made.instructions[1:])
    older = replace(less, libc=(made.libc[0], ()), openmp=False)
    for other in (
        replace(made, instructions=(*made.instructions, "avx9000")),
        replace(made, libc=(made.libc[0], (99,))),
        replace(made, sources="others"),
        replace(made, machine="another"),
        replace(made, flags=("-O0",)),
    ):
        store(cache, other)
    assert cache.compatible(made) is None
    one_thread = store(cache, older)
    assert cache.compatible(made) == one_thread
    assert cache.compatible(made) != store(cache, less)
    assert cache.compatible(made) == cache.find(less)


def test_a_cached_library_needs_no_compiler(first, tmp_path):
    fake = fake_compiler(tmp_path)
    assert len(first.succeeds(CXX=str(fake))) == 2
    made = len(calls(tmp_path).read_text().splitlines())
    assert first.succeeds(CXX=str(fake)) == []
    assert len(calls(tmp_path).read_text().splitlines()) == made
    fake.unlink()
    assert first.succeeds(CXX="/nowhere/c++") == []


def test_a_library_of_a_smaller_machine_serves_where_there_is_no_compiler(first, tmp_path):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    (manifest,) = (tmp_path / "cache").rglob("*.json")
    content = json.loads(manifest.read_text())
    content["instructions"] = content["instructions"][1:]
    manifest.write_text(json.dumps(content))
    assert first.succeeds(CXX="/nowhere/c++") == []
    content["instructions"] = ["avx9000"]
    manifest.write_text(json.dumps(content))
    first.falls_back("CXX=/nowhere/c++ is not there", CXX="/nowhere/c++")


@pytest.mark.parametrize("damage", [lambda code: code[:1000], lambda code: b"planted"], ids=["truncated", "foreign"])
def test_a_damaged_library_is_compiled_again(first, tmp_path, damage):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    (path,) = (tmp_path / "cache").rglob("*.so")
    whole = path.read_bytes()
    path.unlink()  # this process has it in its memory
    path.write_bytes(damage(whole))
    assert "compiling the native kernels" in first.succeeds()[0]
    assert path.read_bytes() == whole


def test_a_planted_library_is_not_loaded(first, tmp_path):
    first.succeeds(CXX=str(fake_compiler(tmp_path)))
    (folder,) = (tmp_path / "cache").rglob("native")
    folder.chmod(0o777)
    first.falls_back("other users can write to")


def test_the_manifest_says_what_the_library_was_made_from():
    found = ensure()
    content = json.loads(found.path.with_suffix(".json").read_text())
    assert content["sha256"] == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert content["compiler"] == found.compiler
    assert found.path.name == f"kernels-{found.made.key()}.so"
