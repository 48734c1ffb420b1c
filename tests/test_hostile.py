"""Run folders made by someone who means harm: nothing of them is run, nothing outside of them is written, no traceback."""

import io
import os
import pickle
import shutil
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks import cli
from hypernetworks.runs.checkpoint import load_trainer

from .small_run import sealed
from .small_run import trained as trained  # a fixture

FILES = (
    "config.json",
    "metrics.jsonl",
    "trainer.pt",
    "trainer.before.pt",
    "model.safetensors",
    "samples.txt",
    "run.lock",
)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "reference")
    monkeypatch.setattr(
        import_module("hypernetworks.experiments.experiment"), "draw_run", lambda run: None
    )  # it would cost the most
    return Path(shutil.copytree(trained, tmp_path / "run"))


class Bomb:
    """Unpickled freely, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def saved(bomb: Bomb) -> bytes:
    buffer = io.BytesIO()
    torch.save(bomb, buffer)
    return buffer.getvalue()


def every_command(run: Path, capsys: Capture) -> list[int]:
    """The exit codes of the commands that read a run, --config being given what it refuses; each failure is one line."""
    codes = []
    for command in (
        ["generate", str(run), "--length=3"],
        ["train", "--config", str(run / "config.json"), "--steps=0"],
        ["train", "--resume", "--out", str(run)],
    ):
        capsys.readouterr()
        codes.append(cli.main(["text", *command]))
        error = capsys.readouterr().err
        assert codes[-1] in (0, 1, 2)
        assert "Traceback" not in error
        if codes[-1]:
            assert error.splitlines()[-1].startswith("hypernetworks: ")
    return codes


@pytest.mark.parametrize("kind", ["pickle", "sealed torch"])
@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_run_is_unpickled(name: str, kind: str, run: Path, tmp_path: Path, capsys: Capture) -> None:
    bomb = Bomb(tmp_path / "ran")
    data = saved(bomb) if "torch" in kind else pickle.dumps(bomb, 2)
    assert pickle.loads(pickle.dumps(bomb)) is None  # it works
    (tmp_path / "ran").rmdir()
    (run / name).write_bytes(sealed(data) if "sealed" in kind else data)
    codes = every_command(run, capsys)
    assert codes == ([2, 2, 2] if name == "config.json" else [0, 2, 0])  # all else is made again, or not read
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", FILES)
def test_a_link_out_of_the_folder_is_never_written_through(
    name: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    """A symbolic link, and a second name of the same file: both as an archive may have them."""
    for link in (Path.symlink_to, Path.hardlink_to):
        path, victim = run / name, tmp_path / "victim"
        precious = path.read_bytes() + b"precious" if path.exists() else b"precious"
        victim.write_bytes(precious)
        path.unlink(missing_ok=True)
        link(path, victim)
        every_command(run, capsys)
        if not (name == "run.lock" and link is Path.hardlink_to):  # the lock writes its own file alone
            assert victim.read_bytes() == precious
        path.unlink(missing_ok=True)
        victim.unlink()
        if name == "config.json":
            path.write_bytes(precious.removesuffix(b"precious"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("made", ["folder", "pipe", "endless link", "empty", "deep JSON"])
def test_what_is_no_file_or_no_content_is_no_crash(
    name: str, made: str, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = run / name
    path.unlink(missing_ok=True)
    match made:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "endless link":
            path.symlink_to("/dev/zero")
        case "empty":
            path.touch()
        case "deep JSON":
            path.write_bytes(b'{"a":' * 100_000)
    every_command(run, capsys)


def test_a_zip_bomb_in_a_trainers_state_is_stored_bytes_alone(run: Path, capsys: Capture) -> None:
    """torch's archives are not compressed; one that is must not be taken for a state, whatever its sum."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
        archive.writestr("archive/version", b"3\n")
    (run / "trainer.pt").write_bytes(sealed(buffer.getvalue()))
    assert every_command(run, capsys)[-1] == 0
    assert load_trainer(run / "trainer.pt", [])["step"] == 2
