"""One writer: a second process is refused by the name of the first, a lock whose process is gone is none."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.lock import LOCK, only_writer

HOLDER = """
import sys
from pathlib import Path
from hypernetworks.runs.lock import only_writer

with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder until its input ends."""
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_by_the_name_of_the_first_and_a_killed_one_leaves_no_lock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, toy = tmp_path / "run", tmp_path / "toy.txt"
    toy.write_text("abcdefgh" * 1000)
    with hold(folder) as first:
        printed = (
            rf"run: process {first.pid} on {platform.node()} has been writing here since \d{{4}}-.*: wait for its end"
        )
        with pytest.raises(UsageError, match=printed), only_writer(folder):
            pytest.fail("it was let in")
        assert cli.main(["text", "train", "--corpus", str(toy), "--out", str(folder), "--hidden-size=4"]) == 2
        assert f"process {first.pid} on {platform.node()}" in capsys.readouterr().err
        assert [path.name for path in folder.iterdir()] == [LOCK]
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert json.loads((folder / LOCK).read_text())["pid"] == first.pid
    with only_writer(folder):
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()
    assert list(folder.iterdir()) == []


def test_a_process_cannot_enter_twice(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        with pytest.raises(UsageError, match=f"process {os.getpid()} on "), only_writer(tmp_path):
            pytest.fail("it was let in")
        assert (tmp_path / LOCK).exists()
    with only_writer(tmp_path):
        pass


def test_a_process_number_that_was_given_out_again_misleads_nobody(tmp_path: Path) -> None:
    """The lock's process is gone, and its number is that of one that lives: this one."""
    (tmp_path / LOCK).write_text(json.dumps({"host": platform.node(), "pid": os.getpid(), "since": "2020"}))
    with only_writer(tmp_path):
        pass


@pytest.mark.parametrize("left", ["", "{", '{"host": 1}', "[" * 4000, "x" * 10_000])
def test_what_a_process_left_that_was_killed_while_it_wrote_its_name_is_no_lock(left: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(left)
    with only_writer(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_a_lock_of_another_machine_is_refused_with_how_to_remove_it(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"host": "elsewhere", "pid": 7, "since": "2026-01-02"}))
    for _ in range(2):
        with (
            pytest.raises(
                UsageError, match=r"process 7 on elsewhere .* 2026-01-02.*: if it has ended, remove .*run\.lock"
            ),
            only_writer(tmp_path),
        ):
            pytest.fail("it was let in")
    (tmp_path / LOCK).unlink()
    with only_writer(tmp_path):
        pass


def test_the_lock_of_someone_who_was_let_in_by_hand_stays(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        (tmp_path / LOCK).unlink()
        (tmp_path / LOCK).write_text("another's")
    assert (tmp_path / LOCK).read_text() == "another's"


def test_an_error_within_releases_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path):
        _ = 1 // 0
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_locked_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: is a file, expected a folder"), only_writer(tmp_path / "file"):
        pass
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FaultError, match=r"run\.lock: cannot be locked: [^\n]*$"), only_writer(tmp_path):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"
