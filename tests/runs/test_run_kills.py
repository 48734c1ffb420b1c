"""A process that dies at any line of a commit, or at any moment, leaves the last commit or the next."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from hypernetworks.runs.run import Run

from .runs import run as run  # a fixture

KILLED_COMMITS = """
import os, resource, shutil, signal, sys
from pathlib import Path

import torch
from hypernetworks.runs.run import Run

torch.set_num_threads(1)
template, folder = Path(sys.argv[1]), Path(sys.argv[2])
PARTS = ("run.py", "metrics.py", "files.py", "checkpoint.py")
STATE = {"step": 6, "model": {"w": torch.full((300,), 6.0)}, "best": {"step": 6, "score": 0.5}}


def die_at(turn):
    # The trace is called before each line: the process ends there, with nothing flushed or cleaned.
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if Path(frame.f_code.co_filename).name not in PARTS:
            return None
        if event == "line":
            count += 1
            if count == turn:
                os._exit(9)
        return trace

    return trace


def commit(kill):
    run = Run.open(folder)
    run.restore()
    kill()
    run.record({"step": 6})
    run.commit(STATE)


def at_line(turn):
    return lambda: sys.settrace(die_at(turn))


def at_size(size):
    def kill():
        # The kernel kills the process in the middle of the write that would make a file larger.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return kill


def outcome(kill):
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    child = os.fork()
    if not child:
        commit(kill)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    run = Run.open(folder)
    state = run.restore()
    tensors, metadata = run.best_model()
    assert metadata["step"] == str(state["best"]["step"])
    assert torch.equal(tensors["w"], state["best"]["model"]["w"])
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["config.json", "metrics.jsonl", "model.safetensors", "trainer.before.pt", "trainer.pt"], left
    rows = [row["step"] for row in run.metrics()]
    assert (state["step"], rows) in ((4, [1, 2, 3, 4]), (6, [1, 2, 3, 4, 6])), (state["step"], rows)
    if state["step"] == 6:
        assert torch.equal(state["model"]["w"], STATE["model"]["w"])
    return status, state["step"]


turn, steps = 0, []
while True:
    turn += 1
    status, step = outcome(at_line(turn))
    if status == 0:
        break
    steps.append(step)
assert steps == sorted(steps)
print(steps.count(4), steps.count(6))
print([outcome(at_size(size))[1] for size in (80, 200, 1000, 1 << 20)])
"""


def test_a_commit_that_is_killed_at_each_line_and_within_a_write(run: Run, tmp_path: Path) -> None:
    Run.open(run.folder).restore()
    command = [sys.executable, "-c", KILLED_COMMITS, str(run.folder), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines, sizes = done.stdout.splitlines()
    before, after = map(int, lines.split())
    assert before > 40
    assert after > 15
    assert sizes == "[4, 4, 4, 6]"


COMMITTER = """
import sys
from pathlib import Path

import torch
from hypernetworks.runs.run import Run

torch.set_num_threads(1)
folder = Path(sys.argv[1])
run = Run.open(folder) if folder.exists() else Run.create(folder, {})
state = run.restore()
step, best = (state["step"], state["best"]) if state else (0, None)
print("ready", flush=True)
while True:
    step += 1
    weights = {"w": torch.full((20_000,), float(step))}
    if step % 3 == 0:
        best = {"step": step, "score": 1.0, "model": weights}
    run.record({"step": step})
    run.commit({"step": step, "model": weights, "best": best})
    print(step, flush=True)
"""


def test_sigkill_at_any_moment(tmp_path: Path) -> None:
    folder, last = tmp_path / "run", 0
    for delay in (0.0, 0.011, 0.047, 0.103):
        process = subprocess.Popen([sys.executable, "-c", COMMITTER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        printed = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.stdout.close()
        process.wait()
        last = max([last, *printed])
        run = Run.open(folder)
        state = run.restore()
        step = state["step"] if state else 0
        assert last <= step <= last + 1  # nothing that commit() returned from is lost
        assert [row["step"] for row in run.metrics()] == list(range(1, step + 1))
        last = step
        if state:
            assert torch.equal(state["model"]["w"], torch.full((20_000,), float(step)))
        if step >= 3:
            assert run.best_model()[1]["step"] == str(step - step % 3)
