"""What is left of a run where a file is damaged, missing or somewhere else, or the disk is full."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.checkpoint import load_model, load_trainer, save_model, save_trainer
from hypernetworks.runs.run import Run

from .runs import CONFIG, names, same, trainer, weights
from .runs import run as run  # a fixture


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
        printed = f"{path}: damaged or missing: resuming from the previous commit, step 2\n"
        assert capsys.readouterr().err == printed
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
        with pytest.raises(UsageError, match=r"trainer\.pt: [^\n]*replace it with a good copy"):
            Run.open(run.folder).restore()
        assert same(Run.open(run.folder).best_model()[0], weights(2))
        self.damage(run.folder / "model.safetensors", "cut")
        with pytest.raises(UsageError, match=r"trainer\.pt: "):
            Run.open(run.folder).best_model()

    def test_the_model_is_read_from_the_commit_before_where_all_else_is_damaged(self, run: Run) -> None:
        self.damage(run.folder / "trainer.pt", "changed")
        self.damage(run.folder / "model.safetensors", "changed")
        assert same(Run.open(run.folder).best_model()[0], weights(2))

    def test_trainers_that_vanished_do_not_restart_the_run(self, run: Run) -> None:
        (run.folder / "trainer.pt").unlink()
        (run.folder / "trainer.before.pt").unlink()
        with pytest.raises(UsageError, match=r"trainer\.pt: missing, although model\.safetensors exists"):
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
            with pytest.raises(UsageError, match="not the state of a trainer"):
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
        with pytest.raises(UsageError, match=r"no model yet \(the run was not validated so far\)"):
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
