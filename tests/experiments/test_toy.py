"""A new experiment of one file has train, evaluate, compare and resume, with all that the other experiments can do."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.experiments.comparison import compare
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.runs.run import Run

from . import toy
from .toy import LINE, LineConfig, LineTask, Points

Capture = pytest.CaptureFixture[str]
OWN_FILES = {"config.json", "metrics.jsonl", "model.safetensors", "trainer.before.pt", "trainer.pt"}


@pytest.fixture(autouse=True)
def command(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hypernetworks line …` is a command, and runs have no picture, which would cost the most."""
    monkeypatch.setattr("hypernetworks.experiments.experiment.draw_run", lambda run: None)
    monkeypatch.setitem(sys.modules, "toy_experiment", toy)
    for word in ("train", "evaluate", "compare"):
        monkeypatch.setitem(cli.COMMANDS, f"line {word}", ("toy_experiment", word.capitalize()))


def state(run: Path) -> dict[str, object]:
    return {name: value for name, value in load_trainer(run / "trainer.pt", []).items() if name != "run"}


def test_it_trains_and_is_evaluated(tmp_path: Path, capsys: Capture) -> None:
    run = tmp_path / "run"
    assert cli.main(["line", "train", "--out", str(run), "--preset", "steep"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "slope 5: train 8, validation 4; line, 2 parameters"
    assert "best validation at step 40: validation_loss " in out
    assert {path.name for path in run.iterdir()} == OWN_FILES
    assert json.loads((run / "config.json").read_text())["settings"]["slope"] == 5
    assert cli.main(["line", "evaluate", str(run)]) == 0
    fitted = float(capsys.readouterr().out.split()[-1])
    assert fitted == pytest.approx(5, abs=1.5)
    assert cli.main(["line", "evaluate", str(run), "--split", "dev"]) == 2


def test_it_resumes_to_the_bits_of_a_run_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["line", "train", "--out", str(tmp_path / "whole")]) == 0
    loss = LineTask.loss

    def raising(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        if step == 25:
            raise KeyboardInterrupt
        return loss(self, step, part)

    monkeypatch.setattr(LineTask, "loss", raising)
    assert cli.main(["line", "train", "--out", str(tmp_path / "stopped")]) == 130
    monkeypatch.setattr(LineTask, "loss", loss)
    torch.manual_seed(9)  # another process starts with other random numbers
    assert cli.main(["line", "train", "--resume", "--out", str(tmp_path / "stopped")]) == 0
    torch.testing.assert_close(state(tmp_path / "stopped"), state(tmp_path / "whole"), rtol=0, atol=0)


def test_its_config_repeats_it(tmp_path: Path) -> None:
    assert cli.main(["line", "train", "--slope", "3", "--seed", "4", "--out", str(tmp_path / "run")]) == 0
    config = tmp_path / "run" / "config.json"
    assert cli.main(["line", "train", "--config", str(config), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "config.json").read_bytes() == config.read_bytes()
    torch.testing.assert_close(state(tmp_path / "again"), state(tmp_path / "run"), rtol=0, atol=0)


def test_its_variants_are_compared(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    given = ["line", "compare", "--steps", "40", "--seeds", "0", "1", "--out", str(tmp_path / "both")]
    assert cli.main(given) == 0
    out = capsys.readouterr().out
    assert "line: 2 variants on the same data" in out
    rows = json.loads((tmp_path / "both" / "compare.json").read_text())
    assert [(row["variant"], row["figures"]["parameters"]) for row in rows] == [("with-bias", 2), ("without", 1)]
    for row in rows:
        found = [float(Run.open(Path(run)).best_model()[1]["score"]) for run in row["runs"]]
        assert row["scores"] == {"validation_loss": found}
    assert (tmp_path / "both" / "compare.svg").is_file()
    assert cli.main([*given, "--resume"]) == 0
    assert json.loads((tmp_path / "both" / "compare.json").read_text()) == rows


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train", "--preset", "flat"], "preset should be one of default, steep, got 'flat'"),
        (["train", "--kernels", "plain"], "Unrecognized options: --kernels"),
        (["train", "--resume"], "no such folder, expected a run"),
        (["compare", "--no-bias"], "compare chooses --bias itself, got False: it trains both"),
        (["compare", "--seed", "2"], "compare chooses --seed itself, got 2: give --seeds"),
    ],
)
def test_mistakes_get_one_line(given: list[str], message: str, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["line", *given, "--out", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "new").exists()


def test_other_data_and_other_settings_are_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    data = LINE.load_data("slope 2", None)
    LINE.train(run, LineConfig(), data, "run")
    assert cli.main(["line", "train", "--resume", "--slope", "3", "--out", str(run)]) == 2
    assert "resumed with its own settings, but was given slope 3.0 (the run has 2.0)" in capsys.readouterr().err
    monkeypatch.setattr(Points, "sha256", "1" * 64)
    for words in (["evaluate", str(run)], ["train", "--resume", "--out", str(run)]):
        assert cli.main(["line", *words]) == 2
        assert (
            "run: was trained on other data than slope 2 has now: arithmetic with the sha256 "
            in capsys.readouterr().err
        )


def test_a_seed_that_cannot_be_stops_a_comparison_before_its_first_run(tmp_path: Path) -> None:
    data = LINE.load_data("slope 2", None)
    with pytest.raises(Exception, match="seed should be in"):
        compare(LINE, tmp_path / "new", {"line": LineConfig()}, (0, -1), data, resume=False)
    assert not (tmp_path / "new").exists()
