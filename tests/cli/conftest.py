"""What the tests of the command line work on: a finished run of a tiny model."""

import shutil
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.cache import cache_folder

from .toy import SHORT, SIZES, TEXT, corpus


@pytest.fixture(autouse=True)
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found in this machine's cache except the kernels, which would have to be rebuilt."""
    kernels = cache_folder() / "native"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache_folder().mkdir(parents=True)
    (cache_folder() / "native").symlink_to(kernels)
    monkeypatch.delenv("HYPERNETWORKS_DATA", raising=False)
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "reference")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with toy.txt and a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "toy.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:  # a fixture of each test comes too late
        patch.setenv("HYPERNETWORKS_BACKEND", "reference")
        assert cli.main(["text", "train", *corpus(folder), *SIZES, *SHORT, "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to do anything with."""
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"
