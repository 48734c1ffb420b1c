"""A run's folder: made, opened, committed to, restored, its metrics read."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.runs.checkpoint import load_model, load_trainer
from hypernetworks.runs.run import Run

from .runs import CONFIG, names, same, trainer, weights
from .runs import run as run  # a fixture


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
        with pytest.raises(UsageError, match="already holds a run: give --resume to continue it, or another --out"):
            Run.create(run.folder, CONFIG)
        assert before == {path: path.read_bytes() for path in run.folder.iterdir()}
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(UsageError, match=r"holds other files \('run', …\): give another --out"):
            Run.create(tmp_path, CONFIG)
        for path in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "run"):
            with pytest.raises(UsageError, match="is a file, expected a folder"):
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
        with pytest.raises(UsageError, match=r"not a run's folder \(it has no config\.json\)$"):
            Run.open(tmp_path)

    @pytest.mark.parametrize("inside", ["lstm-seed0", "finals/lstm-seed0"])
    def test_a_folder_of_several_runs_names_one(self, tmp_path: Path, inside: str) -> None:
        Run.create(tmp_path / inside, {"seed": 0})
        with pytest.raises(UsageError) as error:
            Run.open(tmp_path)
        assert str(error.value).endswith(f": name one of the folders in it, for example {tmp_path / inside}")

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

    def test_before_the_first_commit_training_starts_from_the_beginning(self, tmp_path: Path) -> None:
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
        with pytest.raises(ValueError, match="requires step, model and best"):
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
            with pytest.raises(ValueError, match=r"name should be one of curve\.svg, samples\.txt"):
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
        assert capsys.readouterr().err == f"{path}: damaged, changed or missing: restored from the last commit\n"
        again.record({"step": 6})
        assert [row["step"] for row in again.metrics()] == [1, 2, 3, 4, 6]

    def test_metrics_that_vanish_or_shrink_under_the_writer(self, run: Run) -> None:
        path = run.folder / "metrics.jsonl"
        os.truncate(path, 10)
        with pytest.raises(FaultError, match=r"metrics\.jsonl: was truncated"):
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
