import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.training.checkpoint import load_model, load_trainer, save_model, save_trainer
from hypernetworks.training.errors import FaultError, UsageError
from hypernetworks.training.run import Run

CONFIG = {"seed": 3, "data": "shakespeare", "betas": (0.9, 0.99)}


def weights(step: int) -> dict[str, torch.Tensor]:
    weight = torch.full((3, 2), float(step))
    return {"w": weight, "tied": weight, "b": torch.arange(2.0) * step}


def trainer(step: int, best: int | None) -> dict[str, Any]:
    """A state at a step whose best came at another step, or the same."""
    found = None if best is None else {"step": best, "score": 1 / (1 + best), "model": weights(best)}
    return {"step": step, "model": weights(step), "best": found, "random": torch.get_rng_state(), "position": [step, 7]}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of four steps and two commits, the best of step 2, and a row past the last commit."""
    run = Run.create(tmp_path / "run", CONFIG)
    for step in (1, 2, 3, 4):
        run.record({"step": step, "loss": 1 / step})
        if step in (2, 4):
            run.commit(trainer(step, best=2))
    run.record({"step": 5})
    return run


class TestCreateAndOpen:
    def test_the_config_is_kept_in_order_with_versions(self, tmp_path: Path) -> None:
        run = Run.create(tmp_path / "some" / "run", CONFIG)
        assert names(run.folder) == ["config.json", "metrics.jsonl"]
        config = json.loads((run.folder / "config.json").read_text())
        assert list(config) == ["seed", "data", "betas", "versions", "machine"]
        assert config["versions"]["torch"] == torch.__version__
        assert config["versions"].keys() == {"hypernetworks", "torch", "python"}
        assert config["machine"]["threads"] == torch.get_num_threads()
        assert run.config == Run.open(run.folder).config == config

    def test_an_empty_folder_and_what_a_killed_create_left_will_do(self, tmp_path: Path) -> None:
        (tmp_path / ".config.json.0123abcd.tmp").write_text("{")
        Run.create(tmp_path, CONFIG)
        assert names(tmp_path) == ["config.json", "metrics.jsonl"]

    def test_nothing_of_the_users_is_overwritten(self, tmp_path: Path, run: Run) -> None:
        before = {path: path.read_bytes() for path in run.folder.iterdir()}
        with pytest.raises(UsageError, match="already holds a run: give --resume to go on with it, or another --out"):
            Run.create(run.folder, CONFIG)
        assert before == {path: path.read_bytes() for path in run.folder.iterdir()}
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(UsageError, match=r"holds other files \('run', …\): give another --out"):
            Run.create(tmp_path, CONFIG)
        for path in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "run"):
            with pytest.raises(UsageError, match="a file stands where the run's folder would be"):
                Run.create(path, CONFIG)

    def test_a_setting_without_a_number_leaves_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="not a finite number"):
            Run.create(tmp_path / "run", {"clip": float("inf")})
        assert names(tmp_path) == []

    def test_a_folder_that_the_system_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(FaultError, match="cannot be made: Permission denied"):
            Run.create(tmp_path / "run", CONFIG)
        monkeypatch.setattr(Path, "is_dir", refuse)
        with pytest.raises(FaultError, match="cannot be read: Permission denied"):
            Run.open(tmp_path / "run")

    def test_a_folder_that_is_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such folder, expected a run"):
            Run.open(tmp_path / "none")
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="is a file, expected a run"):
            Run.open(tmp_path / "file")
        with pytest.raises(UsageError, match=r"not a run's folder \(it has no config\.json\)"):
            Run.open(tmp_path)

    @pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"a": NaN}', " " * (1 << 20) + "{}"])
    def test_a_config_that_is_none(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError, match=r"config\.json: [^\n]*$"):
            Run.open(tmp_path)


class TestCommitAndRestore:
    @pytest.mark.parametrize("best", [None, 2, 4])
    def test_what_was_committed_comes_back(self, run: Run, best: int | None) -> None:
        run.commit(trainer(4, best))
        run.record({"step": 6})
        again = Run.open(run.folder)
        assert len(again.metrics()) == 6
        assert same(again.restore(), trainer(4, best))
        assert [row["step"] for row in again.metrics()] == [1, 2, 3, 4, 5]
        again.record({"step": 5})
        again.commit(trainer(5, best))
        assert same(Run.open(run.folder).restore(), trainer(5, best))
        assert [row["step"] for row in again.metrics()] == [1, 2, 3, 4, 5, 5]

    def test_the_best_weights_are_kept_once_where_they_are_the_last(self, run: Run) -> None:
        state = trainer(9, best=9)
        del state["best"]["model"]
        run.commit(state)
        stored = load_trainer(run.folder / "trainer.pt", [])
        assert stored["best"] == {"step": 9, "score": 0.1}
        restored = Run.open(run.folder).restore()
        assert same(restored, trainer(9, best=9))
        assert restored is not None
        restored["model"]["w"].zero_()
        assert same(restored["best"]["model"], weights(9))

    def test_the_model_is_written_when_the_best_changed(self, run: Run) -> None:
        path = run.folder / "model.safetensors"
        before = path.stat().st_ino
        run.commit(trainer(6, best=2))
        assert path.stat().st_ino == before
        run.commit(trainer(7, best=7))
        tensors, metadata = load_model(path)
        assert same(tensors, weights(7))
        digest = hashlib.sha256((run.folder / "config.json").read_bytes()).hexdigest()
        assert metadata == {"step": "7", "score": "0.125", "config_sha256": digest}

    def test_before_the_first_commit_training_begins_anew(self, tmp_path: Path) -> None:
        run = Run.create(tmp_path, CONFIG)
        run.record({"step": 1})
        again = Run.open(tmp_path)
        assert again.restore() is None
        assert again.metrics() == []
        (tmp_path / "metrics.jsonl").unlink()
        assert Run.open(tmp_path).restore() is None
        assert names(tmp_path) == ["config.json", "metrics.jsonl"]

    def test_an_opened_run_is_not_written_before_it_is_restored(self, run: Run) -> None:
        again = Run.open(run.folder)
        for write in (lambda: again.record({}), lambda: again.commit(trainer(5, best=2))):
            with pytest.raises(RuntimeError, match="restore"):
                write()

    @pytest.mark.parametrize(
        "state",
        [
            {},
            {"step": 1, "model": weights(1)},
            {"step": "1", "model": weights(1), "best": None},
            {"step": 1, "model": {"w": 1}, "best": None},
            {"step": 2, "model": weights(1), "best": {"step": 1, "score": 0.5}},
            {"step": 2, "model": weights(1), "best": {"step": 2}},
        ],
    )
    def test_a_state_that_lacks_something_is_refused(self, run: Run, state: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="needs step, model and best"):
            run.commit(state)
        assert same(Run.open(run.folder).restore(), trainer(4, best=2))

    def test_stale_temporary_files_go(self, run: Run) -> None:
        before = names(run.folder)
        for name in ("trainer.pt", "model.safetensors", "metrics.jsonl", "curve.svg"):
            (run.folder / f".{name}.89abcdef.tmp").write_bytes(b"part")
        (run.folder / ".notes.0123abcd.tmp").touch()
        Run.open(run.folder).restore()
        assert names(run.folder) == sorted([*before, ".notes.0123abcd.tmp"])

    def test_texts(self, run: Run) -> None:
        run.write_text("samples.txt", "Ω\n")
        assert (run.folder / "samples.txt").read_bytes() == "Ω\n".encode()
        for name in ("trainer.pt", "../samples.txt"):
            with pytest.raises(ValueError, match="not a text of a run"):
                run.write_text(name, "")


class TestMetrics:
    def test_numbers_that_json_lacks_are_refused(self, run: Run) -> None:
        for row in ({"loss": float("nan")}, {"a": [float("inf")]}):
            with pytest.raises(FaultError, match=r"metrics\.jsonl: \{.*\} holds a number that is not finite"):
                run.record(row)
        assert len(run.metrics()) == 5

    def test_a_torn_last_line_is_left_out_and_a_damaged_one_named(self, run: Run) -> None:
        path = run.folder / "metrics.jsonl"
        data = path.read_bytes()
        path.write_bytes(data[:-4])
        assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4]
        path.write_bytes(data.replace(b'{"step": 3', b'{"step: 3'))
        with pytest.raises(UsageError, match=r"metrics\.jsonl, line 3: not valid JSON"):
            run.metrics()
        path.write_bytes(b"3\n")
        with pytest.raises(UsageError, match=r"line 1: holds a int, expected a JSON object"):
            run.metrics()

    @pytest.mark.parametrize("how", ["cut", "changed", "foreign", "missing"])
    def test_metrics_that_lost_committed_lines_are_made_again(
        self, run: Run, how: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = run.folder / "metrics.jsonl"
        data = path.read_bytes()
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes({"cut": data[:60], "changed": data.replace(b"1.0", b"7.0"), "foreign": b"\xff" * 900}[how])
        again = Run.open(run.folder)
        assert same(again.restore(), trainer(4, best=2))
        assert path.read_bytes() == data[: data.index(b'{"step": 5')]
        assert capsys.readouterr().err == f"{path}: damaged, changed or missing: made again as of the last commit\n"
        again.record({"step": 6})
        assert [row["step"] for row in again.metrics()] == [1, 2, 3, 4, 6]

    def test_metrics_that_vanish_or_shrink_under_the_writer(self, run: Run) -> None:
        path = run.folder / "metrics.jsonl"
        os.truncate(path, 10)
        with pytest.raises(FaultError, match=r"metrics\.jsonl: was cut short"):
            run.record({"step": 6})
        path.unlink()
        for write in (lambda: run.record({"step": 6}), lambda: run.commit(trainer(6, best=2))):
            with pytest.raises(FaultError, match=r"metrics\.jsonl: cannot be written: No such file"):
                write()

    def test_part_of_a_line_that_failed_is_cut_off(self, run: Run) -> None:
        path = run.folder / "metrics.jsonl"
        with path.open("ab") as file:
            file.write(b'{"step": 6, "lo')  # as a full disk leaves it
        run.record({"step": 6})
        assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5, 6]


class TestDamage:
    def damage(self, path: Path, how: str) -> None:
        data = path.read_bytes()
        if how == "missing":
            path.unlink()
        else:
            contents = {
                "empty": b"",
                "cut": data[: len(data) // 2],
                "changed": data[:-200] + bytes([data[-200] ^ 1]) + data[-199:],
                "foreign": b"some text\n",
            }
            path.write_bytes(contents[how])

    @pytest.mark.parametrize("how", ["missing", "empty", "cut", "changed", "foreign"])
    def test_the_model_is_made_again(self, run: Run, how: str) -> None:
        path = run.folder / "model.safetensors"
        tensors, metadata = run.best_model()
        self.damage(path, how)
        found, found_metadata = Run.open(run.folder).best_model()
        assert same(found, tensors)
        assert found_metadata == metadata
        Run.open(run.folder).restore()
        found, found_metadata = load_model(path)
        assert same(found, tensors)
        assert found_metadata == metadata

    @pytest.mark.parametrize(("step", "value"), [("1", 2), ("2", 1)])
    def test_a_model_of_another_commit_is_made_again(self, run: Run, step: str, value: int) -> None:
        path = run.folder / "model.safetensors"
        save_model(path, weights(value), {**run.best_model()[1], "step": step})
        Run.open(run.folder).restore()
        assert same(run.best_model()[0], weights(2))
        assert run.best_model()[1]["step"] == "2"

    @pytest.mark.parametrize("how", ["missing", "empty", "cut", "changed", "foreign"])
    def test_a_damaged_trainer_leaves_the_commit_before(
        self, run: Run, how: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = run.folder / "trainer.pt"
        self.damage(path, how)
        again = Run.open(run.folder)
        assert same(again.restore(), trainer(2, best=2))
        assert [row["step"] for row in again.metrics()] == [1, 2]
        told = f"{path}: damaged or missing: going on from the commit before it, of step 2\n"
        assert capsys.readouterr().err == told
        assert same(Run.open(run.folder).restore(), trainer(2, best=2))
        assert capsys.readouterr().err == ""  # what was damaged is so no more, and never the commit before another
        again.commit(trainer(7, best=7))
        assert same(Run.open(run.folder).restore(), trainer(7, best=7))

    def test_a_later_best_goes_with_its_damaged_commit(self, run: Run) -> None:
        run.commit(trainer(6, best=6))
        self.damage(run.folder / "trainer.pt", "changed")
        again = Run.open(run.folder)
        assert same(again.restore(), trainer(4, best=2))
        assert again.best_model()[1]["step"] == "2"

    @pytest.mark.parametrize("how", ["empty", "cut", "changed", "foreign"])
    def test_two_damaged_trainers_are_an_error_and_the_model_stays(self, run: Run, how: str) -> None:
        self.damage(run.folder / "trainer.pt", how)
        self.damage(run.folder / "trainer.before.pt", how)
        with pytest.raises(UsageError, match=r"trainer\.pt: [^\n]*put a good copy in its place"):
            Run.open(run.folder).restore()
        assert same(Run.open(run.folder).best_model()[0], weights(2))
        self.damage(run.folder / "model.safetensors", "cut")
        with pytest.raises(UsageError, match=r"trainer\.pt: "):
            Run.open(run.folder).best_model()

    def test_the_model_is_read_from_the_commit_before_where_all_else_is_damaged(self, run: Run) -> None:
        self.damage(run.folder / "trainer.pt", "changed")
        self.damage(run.folder / "model.safetensors", "changed")
        assert same(Run.open(run.folder).best_model()[0], weights(2))

    def test_trainers_that_vanished_do_not_begin_the_run_anew(self, run: Run) -> None:
        (run.folder / "trainer.pt").unlink()
        (run.folder / "trainer.before.pt").unlink()
        with pytest.raises(UsageError, match=r"trainer\.pt: missing, though model\.safetensors tells of a commit"):
            Run.open(run.folder).restore()
        assert len(run.metrics()) == 5
        self.damage(run.folder / "model.safetensors", "cut")
        with pytest.raises(UsageError, match=r"model\.safetensors: not a whole"):
            run.best_model()

    def test_a_trainer_of_another_shape(self, run: Run) -> None:
        state = load_trainer(run.folder / "trainer.pt", [])
        (run.folder / "trainer.before.pt").unlink()
        for change in ({"run": 5}, {"run": {"metrics": 1}}, {"best": 5}, {"model": [1]}, {"step": None}):
            save_trainer(run.folder / "trainer.pt", {**state, **change})
            with pytest.raises(UsageError, match="not the state of a run's trainer"):
                Run.open(run.folder).restore()

    def test_a_config_that_changed(self, run: Run) -> None:
        path = run.folder / "config.json"
        path.write_bytes(path.read_bytes().replace(b'"seed": 3', b'"seed": 4'))
        with pytest.raises(UsageError, match=r"config\.json and trainer\.pt are not of the same run"):
            Run.open(run.folder).restore()
        with pytest.raises(UsageError, match=r"config\.json and model\.safetensors are not of the same run"):
            Run.open(run.folder).best_model()

    def test_a_run_without_a_model_says_so(self, tmp_path: Path) -> None:
        run = Run.create(tmp_path, CONFIG)
        with pytest.raises(UsageError, match=r"no model yet \(the run ended before its first save\)"):
            run.best_model()
        run.commit(trainer(1, best=None))
        with pytest.raises(UsageError, match=r"no model yet \(the run was not evaluated so far\)"):
            run.best_model()


def test_a_full_disk_at_each_call_of_a_commit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each open, fsync and rename fails in its turn: the last commit stands, or the new one, and the next succeeds."""
    calls = [0, 0]

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            if calls[0] == calls[1]:
                raise OSError(28, "No space left on device")
            return real(*args, **kwargs)

        return call

    new, stood = trainer(6, best=6), []
    for owner, name in ((Path, "open"), (os, "open"), (os, "fsync"), (Path, "replace")):
        for turn in range(1, 20):
            folder = run.folder.with_name(f"{name}{owner.__name__}{turn}")
            shutil.copytree(run.folder, folder)
            copy = Run.open(folder)
            copy.restore()
            copy.record({"step": 5})
            calls[:] = [0, turn]
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, counted(getattr(owner, name)))
                try:
                    copy.commit(new)
                except FaultError as error:
                    assert str(error).endswith("No space left on device")  # noqa: PT017
                else:
                    assert calls[0] < turn
                    break
            assert not [path for path in names(folder) if path.endswith(".tmp")]
            found = Run.open(folder).restore()
            assert same(found, new) or same(found, trainer(4, best=2))
            stood.append(same(found, new))
            assert copy.restore() is not None
            copy.commit(new)
            assert same(Run.open(folder).restore(), new)
            assert same(copy.best_model()[0], weights(6))
    assert len(stood) == 13
    assert sum(stood) == 7  # from the rename of trainer.pt on


KILLED_COMMITS = """
import os, resource, shutil, signal, sys
from pathlib import Path

import torch
from hypernetworks.training.run import Run

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
from hypernetworks.training.run import Run

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
        told = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        process.stdout.close()
        process.wait()
        last = max([last, *told])
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
