"""A toy text, flags of a tiny model and a short training, and what a command says that fails."""

from pathlib import Path

import pytest

from hypernetworks import cli

TEXT = "".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60))
SIZES = ("--hidden-size=8", "--embedding-size=5", "--hyper-size=4", "--hyper-embedding-size=2", "--device=cpu")
SHORT = ("--steps=4", "--warmup=1", "--evaluate-every=2", "--log-every=1", "--batch-size=2", "--length=8")
Capture = pytest.CaptureFixture[str]


def corpus(folder: Path) -> list[str]:
    return ["--corpus", str(folder / "toy.txt")]


def error_line(capsys: Capture, given: list[str], code: int) -> str:
    """The one line of a command that fails with this exit code."""
    capsys.readouterr()
    assert cli.main(given) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("hypernetworks: ")
    return error.removeprefix("hypernetworks: ").rstrip("\n")
