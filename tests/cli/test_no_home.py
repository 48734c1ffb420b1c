"""A user without a home folder, as in a container that runs under any number: commands work, or say what is missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .toy import SHORT, SIZES, corpus

PROGRAM = """
import contextlib, io, json, pwd, sys

def none(uid):
    raise KeyError("no entry")

pwd.getpwuid = none
from hypernetworks.cli import main

ends = []
for given in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(given)
    ends.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(ends))
"""
"""Several commands in one process, which takes seconds to start: exit code and output of each."""

NO_PLACE = "hypernetworks: there is no home folder to fetch data into: give --data-dir, or set XDG_CACHE_HOME\n"
NO_HOME = "hypernetworks: ~/data: starts with a home folder that does not exist: give a full path\n"


def run(folder: Path, commands: list[list[str]], **variables: str) -> list[tuple[int, str, str]]:
    unset = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HYPERNETWORKS_DATA", "MPLCONFIGDIR")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env=environment | variables | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "temporary cache directory" not in done.stderr  # matplotlib would warn here, at its import
    return [tuple(end) for end in json.loads(done.stdout)]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def test_commands_that_need_no_folder_work(place: Path, temporary: Path) -> None:
    pytest.importorskip("matplotlib")
    made, new = str(place / "run"), str(place / "new")
    commands = [
        ["data", "list"],
        ["doctor"],
        ["text", "train", *corpus(place), *SIZES, *SHORT, "--out", new],
        ["text", "train", "--resume", "--out", new],
        ["text", "generate", made, "--length", "3"],
        ["text", "evaluate", made],
        ["text", "strips", made, "--length", "9"],
    ]
    ends = run(temporary, commands)
    assert [code for code, _, _ in ends] == [0] * len(commands), ends
    assert "fetched on first use" in ends[0][1]
    assert "there is no home folder to build in: set XDG_CACHE_HOME" in ends[1][1]
    assert (place / "new" / "curve.svg").is_file()
    assert not list(temporary.iterdir())  # matplotlib's settings are gone


def test_commands_that_need_one_say_so_in_one_line(temporary: Path, tmp_path: Path) -> None:
    commands = {
        ("data", "get", "shakespeare"): NO_PLACE,
        ("text", "train", "--out", str(tmp_path / "new")): NO_PLACE,
        ("vision", "train", "--out", str(tmp_path / "new")): NO_PLACE,
        ("data", "list", "--data-dir", "~/data"): NO_HOME,
        ("data", "get", "shakespeare", "--data-dir", "~/data"): NO_HOME,
        ("data", "get", "ptb-char"): "hypernetworks: ptb.train.txt was not found and cannot be fetched: put it in the "
        "folder of --data-dir or $HYPERNETWORKS_DATA\n",
    }
    ends = run(temporary, [list(given) for given in commands])
    assert ends == [(2, "", line) for line in commands.values()]
    assert not (tmp_path / "new").exists()
