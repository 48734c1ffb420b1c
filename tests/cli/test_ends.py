"""Signals, pipes that nobody reads and terminals that lack letters end a command in order."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.runs.run import Run

from .toy import SHORT, SIZES, Capture, corpus


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
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
