import io
import re
import sys
import time

import pytest

from hypernetworks.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_are_few_and_say_it_all(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, label="LSTM", unit="characters") as bar:
        for step in range(1, 51):
            clock[0] += 1.0
            bar.update(step, units=1000 * step, fields={"loss": f"{step}.5", "bpc": "2.0"})
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    assert err.splitlines() == [
        "LSTM  1/100  loss 1.5  bpc 2.0",
        "LSTM  11/100  loss 11.5  bpc 2.0  1,000 characters/s  0:01:29 left",
        "LSTM  21/100  loss 21.5  bpc 2.0  1,000 characters/s  0:01:19 left",
        "LSTM  31/100  loss 31.5  bpc 2.0  1,000 characters/s  0:01:09 left",
        "LSTM  41/100  loss 41.5  bpc 2.0  1,000 characters/s  0:00:59 left",
        "LSTM  50/100  loss 50.5  bpc 2.0  1,000 characters/s  0:00:50 left",
    ]


def test_the_steps_before_a_resume_count_for_no_speed(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, label="[b]", unit="images", start=90) as bar:
        for done in range(1, 11):
            clock[0] += 2.0
            bar.update(90 + done, units=10 * done, fields={})
    assert capsys.readouterr().err.splitlines() == [
        "[b]  91/100",
        "[b]  96/100  5 images/s  0:00:08 left",
        "[b]  100/100  5 images/s",
    ]


def test_without_an_update_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, label="LSTM", unit="characters", start=5):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_last_line_comes_with_an_error_too(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), Progress(9, label="LSTM", unit="characters") as bar:  # noqa: PT012
        bar.update(1, units=1, fields={})
        bar.update(2, units=2, fields={})
        raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == ["LSTM  1/9", "LSTM  2/9"]


def test_a_terminal_gets_one_live_line(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with Progress(3, label="LSTM [b]", unit="characters") as bar:
        for step in (1, 2, 3):
            clock[0] += 1.0
            bar.update(step, units=40 * step, fields={"loss": "1.5"})
        print("between")
    assert out.getvalue() == "between\n"
    assert "\x1b[" in err.getvalue()
    assert "LSTM [b]" in err.getvalue()
    assert "loss 1.5  40 characters/s" in err.getvalue()
    assert err.getvalue().count("\n") == 1


def test_a_note_is_a_line_that_stays(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(9, label="LSTM", unit="characters") as bar:
        bar.update(1, units=1, fields={})
        bar.note("validation: [b] 1.5")
    with Progress(9, label="LSTM", unit="characters", shown=False) as bar:
        bar.note("from another process")
    assert capsys.readouterr().err.splitlines() == ["LSTM  1/9", "validation: [b] 1.5"]
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    with Progress(9, label="LSTM", unit="characters") as bar:
        bar.note("validation: [b] 1.5")
        bar.update(9, units=1, fields={})
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in err.getvalue().splitlines()]
    after = lines[lines.index("validation: [b] 1.5") + 1 :]
    assert any("LSTM  9/9" in line for line in after)


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_a_narrow_terminal_cuts_no_step_count(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    with Progress(100_000, label="hyper-lstm-without-norm-seed0", unit="characters") as bar:
        for step in range(10_001, 10_011):
            clock[0] += 0.1
            bar.update(step, units=4096 * step, fields={"loss": "1.3862", "bpc": "1.9999"})
    (last,) = [line for line in err.getvalue().splitlines() if "without" in line][-1:]
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last.rpartition("\r")[2])
    assert "hyper-lstm-without-norm-seed0  10010/100000" in shown
    assert len(shown) <= columns


def test_a_terminal_that_cannot_change_a_line_gets_plain_ones(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "dumb")
    with Progress(9, label="LSTM", unit="characters") as bar:
        for step in (1, 2, 3):
            clock[0] += 1.0
            bar.update(step, units=step, fields={})
    assert err.getvalue().splitlines() == ["LSTM  1/9", "LSTM  3/9  1 characters/s  0:00:06 left"]
