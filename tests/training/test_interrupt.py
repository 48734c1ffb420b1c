"""Ctrl-C and SIGTERM: the first waits for the step's end and a commit, the second does not wait."""

import os
import pty
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.training.interrupt import Interrupt, Terminated

TRAINING = """
import sys, time
from pathlib import Path
import torch
from torch import nn
from hypernetworks.training.loop import Task, Trainer
from hypernetworks.training.schedule import Schedule
from hypernetworks.errors import Terminated
from hypernetworks.runs.run import Run

class Slow(Task):
    unit = "steps"
    def __init__(self):
        torch.manual_seed(0)
        self.model = self.network = nn.Linear(2, 2)
        self.parts = [slice(0, 3)]
    def loss(self, step, part):
        print("step", step, flush=True)
        time.sleep(0.1)
        return self.model(torch.randn(3, 2)).square().mean(), 1
    def validate(self):
        return {"validation_loss": float(self.model.weight.detach().square().sum())}
    def fields(self, loss):
        return {}
    def state(self):
        return {}
    def load_state(self, state):
        pass

folder, steps = Path(sys.argv[1]), 5
resumed = folder.exists()
run = Run.open(folder) if resumed else Run.create(folder, {})
restored = run.restore() if resumed else None
try:
    Trainer(Slow(), Schedule(steps=steps, warmup=0, log_every=2), run, restored).train("slow")
except Terminated:
    sys.exit(143)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_commits_so_that_resumed_equals_uninterrupted(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(tmp_path / "stopped")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stopped.stdout is not None
    for expected in ("step 0\n", "step 1\n", "step 2\n"):
        assert stopped.stdout.readline() == expected
    stopped.send_signal(number)  # in the middle of the step number 3
    out, error = stopped.communicate(timeout=60)
    assert (stopped.returncode, out) == (128 + number, "")
    assert "Traceback" not in error
    assert load_trainer(tmp_path / "stopped" / "trainer.pt", [])["step"] == 3
    for name, steps in (("stopped", (3, 4)), ("whole", range(5))):
        monkeypatch.setattr(sys, "argv", ["-c", str(tmp_path / name)])
        exec(TRAINING, {})
        assert capsys.readouterr().out == "".join(f"step {step}\n" for step in steps)
    one, other = (load_trainer(tmp_path / name / "trainer.pt", []) for name in ("whole", "stopped"))
    for state in (one, other):
        del state["run"]  # sums over metrics, which have times in them
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("first", "second", "asked", "raised"),
    [
        (signal.SIGINT, signal.SIGINT, KeyboardInterrupt, KeyboardInterrupt),
        (signal.SIGTERM, signal.SIGTERM, Terminated, Terminated),
        (signal.SIGTERM, signal.SIGINT, Terminated, KeyboardInterrupt),
        (signal.SIGHUP, signal.SIGHUP, Terminated, Terminated),
    ],
)
def test_the_first_signal_asks_and_the_second_interrupts(
    first: signal.Signals, second: signal.Signals, asked: type[BaseException], raised: type[BaseException]
) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupt() as interrupt:
        assert not interrupt.asked
        signal.raise_signal(first)
        assert interrupt.asked is asked
        with pytest.raises(raised) as caught:
            signal.raise_signal(second)
        assert caught.type is raised
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with Interrupt() as again:
        assert not again.asked


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert interrupt.asked is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_when_the_terminal_is_closed_nothing_more_is_written_to_it(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from hypernetworks.training.interrupt import Interrupt\n"
        "with Interrupt() as interrupt:\n"
        "    print('before', flush=True); signal.raise_signal(signal.SIGHUP); print('after', flush=True)\n"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", program], stdout=theirs, stderr=theirs, timeout=120, check=False)
    os.close(theirs)
    assert done.returncode == 0
    assert os.read(ours, 1000) == b"before\r\n"


def test_the_handler_is_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with suppress(ValueError), Interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ValueError
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_it_does_nothing() -> None:
    found = []

    def enter() -> None:
        with Interrupt() as interrupt:
            found.append((interrupt.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [(None, signal.getsignal(signal.SIGINT))]
