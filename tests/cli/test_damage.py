"""A file that is damaged, a disk that is full: a good state is gone on with, or one line says why not."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.runs.checkpoint import load_model, load_trainer

from .toy import SHORT, SIZES, Capture, corpus, error_line


def cut(name: str) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes((run / name).read_bytes()[:-50])


def cut_model_alone(run: Path) -> None:
    cut("model.safetensors")(run)
    (run / "trainer.pt").unlink()
    (run / "trainer.before.pt").unlink()


def flip(path: Path, place: float) -> None:
    """Change one byte, so far into the file."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("place_in_file", [0.0, 0.4, 0.8, 1.0])
@pytest.mark.parametrize("name", ["trainer.pt", "trainer.before.pt", "model.safetensors", "metrics.jsonl"])
def test_a_changed_byte_in_any_file_leaves_a_good_state_that_is_gone_on_with(
    name: str, place_in_file: float, place: Path, capsys: Capture
) -> None:
    """The run is finished: what it ended with has to come again."""
    run = place / "run"
    last = load_trainer(run / "trainer.pt", [])
    model = load_model(run / "model.safetensors")
    flip(run / name, place_in_file)
    model_lines = []
    for command in (["generate", str(run), "--length", "5"], ["evaluate", str(run)]):
        capsys.readouterr()
        assert cli.main(["text", *command]) == 0
        model_lines.append(capsys.readouterr().err)
    assert cli.main(["text", "train", "--resume", "--out", str(run)]) == 0
    errors = capsys.readouterr().err
    assert ("resuming from the previous commit, step 2" in errors) == (name == "trainer.pt")
    if name == "model.safetensors":
        assert all(
            re.fullmatch(r".*model\.safetensors: .*: using its copy in trainer\.pt\n", line) for line in model_lines
        )
        assert len(re.findall(r"model\.safetensors: .*: restored from trainer\.pt\n", errors)) == 1
        assert cli.main(["text", "generate", str(run), "--length", "5"]) == 0
        assert capsys.readouterr().err == ""
    else:
        assert model_lines == ["", ""]
    again = load_trainer(run / "trainer.pt", [])
    for state in (last, again):
        del state["run"]  # the metrics, which have times in them
    torch.testing.assert_close(again, last, rtol=0, atol=0)
    torch.testing.assert_close(load_model(run / "model.safetensors")[0], model[0], rtol=0, atol=0)


@pytest.mark.parametrize("how", ["changed", "cut", "missing"])
def test_a_damaged_config_is_one_line_and_nothing_is_changed(how: str, place: Path, capsys: Capture) -> None:
    run = place / "run"
    config = run / "config.json"
    data = config.read_bytes()
    if how == "missing":
        config.unlink()
    else:
        config.write_bytes(data[:-50] if how == "cut" else data.replace(b'"batch_size": 2', b'"batch_size": 3'))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for command in (["generate", str(run)], ["evaluate", str(run)], ["train", "--resume", "--out", str(run)]):
        assert "config.json" in error_line(capsys, ["text", *command], 2)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    config.write_bytes(data)
    assert cli.main(["text", "train", "--resume", "--out", str(run)]) == 0


def test_a_truncated_model_alone_cannot_be_used(place: Path, capsys: Capture) -> None:
    text = ["text", "generate", str(place / "run"), "--length", "5"]
    cut("model.safetensors")(place / "run")
    assert cli.main(text) == 0  # trainer.pt holds it, too
    cut_model_alone(place / "run")
    assert "model.safetensors: not a whole safetensors file" in error_line(capsys, text, 2)
    line = error_line(capsys, ["text", "train", "--resume", "--out", str(place / "run")], 2)
    assert "trainer.pt: missing, although model.safetensors exists" in line


def test_a_report_that_cannot_be_written_is_one_line_and_leaves_nothing(place: Path, capsys: Capture) -> None:
    given = ["text", "report", str(place / "run"), "--length=3", "--out"]
    assert "none/r.html: cannot be written: No such file or directory" in error_line(
        capsys, [*given, str(place / "none" / "r.html")], 1
    )
    assert "place: cannot be written: Is a directory" in error_line(capsys, [*given, str(place)], 1)
    assert sorted(path.name for path in place.iterdir()) == ["run", "toy.txt"]
    assert not list(place.parent.glob("*.tmp"))


def test_a_disk_that_is_full_or_read_only_is_one_line_and_exit_code_1(
    place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(error: OSError) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            raise error

        return call

    given = ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", str(place / "new")]
    monkeypatch.setattr(os, "fsync", refuse(OSError(28, "No space left on device")))
    assert "new: cannot be made: No space left on device" in error_line(capsys, given, 1)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", refuse(OSError(30, "Read-only file system")))
    assert "new2: cannot be made: Read-only file system" in error_line(capsys, [*given[:-1], str(place / "new2")], 1)
    monkeypatch.undo()
    monkeypatch.setattr(torch, "manual_seed", refuse(PermissionError(13, "Permission denied")))
    assert "system error: [Errno 13] Permission denied" in error_line(
        capsys, ["text", "train", "--resume", "--out", str(place / "run")], 1
    )
