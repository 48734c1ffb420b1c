"""Signals, pipes that nobody reads and terminals that lack letters end a command in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hypernetworks import cli
from hypernetworks.doctor import Doctor
from hypernetworks.runs.run import Run

from .toy import SHORT, SIZES, Capture, corpus, error_line


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 143, "terminated")],
)
def test_a_signal_is_one_line_and_the_shells_exit_code(
    number: int, code: int, word: str, place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypernetworks.training.loop import Trainer

    take = Trainer.take_step

    def sent(self: Trainer) -> tuple[float, int]:
        os.kill(os.getpid(), number)
        return take(self)

    given = ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", str(place / "new")]
    monkeypatch.setattr(Trainer, "take_step", sent)
    assert cli.main(given) == code
    assert capsys.readouterr().err.endswith(f"hypernetworks: {word}; continue with --resume\n")
    monkeypatch.setattr(Trainer, "take_step", take)
    assert cli.main(["text", "train", "--resume", "--out", str(place / "new")]) == 0
    assert [row["step"] for row in Run.open(place / "new").metrics() if "loss" in row] == [1, 2, 3, 4]


def test_only_a_command_that_can_resume_says_so(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Doctor) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Doctor, "__call__", interrupted)
    assert error_line(capsys, ["doctor"], 130) == "interrupted"


@pytest.mark.parametrize("flag", [["--out", ""], ["--out="]])
def test_a_folder_without_a_name_is_refused(place: Path, capsys: Capture, flag: list[str]) -> None:
    given = ["text", "train", *corpus(place), *SIZES, *SHORT, *flag]
    assert error_line(capsys, given, 2) == "--out should name a file or folder, got an empty text"
    assert (
        error_line(capsys, ["text", "generate", ""], 2) == "an argument should name a file or folder, got an empty text"
    )


LOST = "hypernetworks: standard output is closed, so what was printed is lost\n"


def in_shell(given: list[str], closed: str) -> subprocess.CompletedProcess[str]:
    """A command whose shell closes streams."""
    return subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", sys.executable, "-m", "hypernetworks", *given],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("closed", "code", "end"), [("<&- 2>&-", 0, ""), (">&-", 1, LOST), ("<&- >&- 2>&-", 1, "")], ids=str
)
def test_a_run_whose_streams_are_closed_is_trained_all_the_same(place: Path, closed: str, code: int, end: str) -> None:
    given = ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", str(place / "new")]
    done = in_shell(given, closed)
    assert done.returncode == code, done.stderr
    assert done.stderr.endswith(end)
    assert "Traceback" not in done.stderr
    one, other = (load_file(place / name / "model.safetensors") for name in ("run", "new"))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("given", [["doctor"], ["text", "generate", "RUN", "--length", "9"], ["--help"]], ids=str)
def test_output_to_a_closed_stream_is_a_failure(trained: Path, given: list[str]) -> None:
    done = in_shell([str(trained / "run") if word == "RUN" else word for word in given], ">&-")
    assert (done.returncode, done.stderr) == (1, LOST)


def test_a_library_may_hold_the_number_of_a_closed_stream() -> None:
    """ctypes of Python 3.14 does: libffi opens its own file, which then has the lowest number that is free."""
    program = (
        "import os, sys; os.open(os.devnull, os.O_RDONLY); from hypernetworks_command import main; sys.exit(main())"
    )
    given = ["sh", "-c", '"$@" >&-', "sh", sys.executable, "-c", program]
    for arguments in (["--help"], ["data", "list"]):
        done = subprocess.run([*given, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (1, LOST)


def command(*given: str, **streams: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, its output buffered as it is by default."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    program = [sys.executable, "-c", "import sys; from hypernetworks.cli import main; sys.exit(main())", *given]
    return subprocess.run(program, env=environment, text=True, timeout=120, **streams)  # type: ignore[call-overload]


def test_a_pipe_that_nobody_reads_is_no_traceback(trained: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = command("text", "generate", str(trained / "run"), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_that_cannot_be_written_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = command("--help", stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (
        1,
        "hypernetworks: system error: [Errno 28] No space left on device\n",
    )


def test_letters_that_a_terminal_lacks_are_replaced(place: Path, capsys: Capture) -> None:
    (place / "accents.txt").write_text("é…" * 200)
    given = ["text", "train", "--corpus", str(place / "accents.txt"), *SIZES, *SHORT, "--out", str(place / "accents")]
    assert cli.main(given) == 0
    done = command(
        "text", "generate", str(place / "accents"), "--length", "9", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "?" * 9 + "\n", "")
