"""A new experiment of one file has train, evaluate, compare and resume, with all that the other experiments can do."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.experiments.comparison import compare, mean_curve
from hypernetworks.experiments.origin import Origin
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.runs.run import Run
from hypernetworks.training.loop import Trainer

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
    data = LINE.load_data(LineConfig(), None)
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
    data = LINE.load_data(LineConfig(), None)
    with pytest.raises(Exception, match="seed should be in"):
        compare(LINE, tmp_path / "new", {"line": LineConfig()}, (0, -1), data, resume=False)
    assert not (tmp_path / "new").exists()


def timeless(run: Path) -> list[dict[str, object]]:
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "points_per_second")}
        for row in Run.open(run).metrics()
    ]


def train(out: Path, *given: str) -> int:
    return cli.main(["line", "train", "--out", str(out), *given])


def test_a_run_that_has_ended_takes_more_steps(tmp_path: Path, capsys: Capture) -> None:
    """At a constant rate it is the longer run, bit for bit. After a decay the rate rises again. config.json repeats it all."""
    constant = ("--final-fraction", "1")
    assert train(tmp_path / "long", "--steps", "60", *constant) == 0
    assert train(tmp_path / "run", "--steps", "40", *constant) == 0
    assert train(tmp_path / "run", "--resume", "--steps", "60") == 0
    torch.testing.assert_close(state(tmp_path / "run"), state(tmp_path / "long"), rtol=0, atol=0)
    assert timeless(tmp_path / "run") == timeless(tmp_path / "long")

    run = tmp_path / "decayed"
    assert train(run, "--steps", "30", "--learning-rate", "0.1") == 0
    capsys.readouterr()
    assert train(run, "--resume", "--steps", "50") == 0
    assert "line  the learning rate was 0.01 at the end, and continues at 0.038\n" in capsys.readouterr().err
    rates = {row["step"]: row["learning_rate"] for row in Run.open(run).metrics() if "loss" in row}
    assert rates[30] == pytest.approx(0.01)
    assert rates[40] == pytest.approx(0.1 * (0.1 + 0.9 * (1 + math.cos(math.pi * 40 / 50)) / 2))
    assert rates[50] == pytest.approx(0.01)
    assert LINE.recorded(run).config.schedule.extended_at == (30,)
    assert train(tmp_path / "again", "--config", str(run / "config.json")) == 0
    torch.testing.assert_close(state(tmp_path / "again"), state(run), rtol=0, atol=0)
    assert train(run, "--resume", "--steps", "70") == 0
    assert LINE.recorded(run).config.schedule.extended_at == (30, 50)
    assert train(run, "--resume") == 0
    assert LINE.load(run).config.schedule.steps == 70


def test_a_run_is_whole_where_it_was_killed_while_given_more_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new config.json is written, and nothing is committed under it yet: the run is read, and goes on to its new end."""
    run, loss = tmp_path / "run", LineTask.loss
    assert train(run, "--steps", "20") == 0

    def killed(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        raise RuntimeError("killed")

    monkeypatch.setattr(LineTask, "loss", killed)
    with pytest.raises(RuntimeError, match="killed"):
        LINE.resume(run, LINE.load_data(LineConfig(), None), "run", steps=30)
    monkeypatch.setattr(LineTask, "loss", loss)
    assert LINE.load(run).config.schedule.steps == 30
    assert train(run, "--resume") == 0
    assert state(run)["step"] == 30


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--steps", "10"], "resumed with its own settings, but was given steps 10 (the run has 20)"),
        (["--steps", "30", "--slope", "3"], "resumed with its own settings, but was given slope 3.0 (the run has 2.0)"),
    ],
    ids=["fewer steps", "another setting"],
)
def test_what_a_run_that_has_ended_does_not_take(
    given: list[str], message: str, tmp_path: Path, capsys: Capture
) -> None:
    assert train(tmp_path / "run", "--steps", "20") == 0
    assert train(tmp_path / "run", "--resume", *given) == 2
    assert message in capsys.readouterr().err


def test_a_run_that_has_not_ended_takes_no_more_steps(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = LineTask.loss

    def raising(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        if step == 5:
            raise KeyboardInterrupt
        return loss(self, step, part)

    monkeypatch.setattr(LineTask, "loss", raising)
    assert train(tmp_path / "run", "--evaluate-every", "4") == 130
    config = (tmp_path / "run" / "config.json").read_bytes()
    assert train(tmp_path / "run", "--resume", "--steps", "50") == 2
    assert (
        "run: more steps are for a run that has ended, and it has taken 4 of 40: resume it without --steps first, or start a "
        "new run with --init-from"
    ) in capsys.readouterr().err
    assert (tmp_path / "run" / "config.json").read_bytes() == config


def test_a_run_starts_with_the_best_model_of_another(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, new = tmp_path / "first", tmp_path / "new"
    assert train(first, "--slope", "3", "--steps", "20") == 0
    started: list[torch.Tensor] = []
    take = Trainer.take_step

    def noting(self: Trainer) -> tuple[float, int]:
        if self.step == 0:
            started.append(self.task.model.weight.detach().clone())
        return take(self)

    monkeypatch.setattr(Trainer, "take_step", noting)
    capsys.readouterr()
    assert train(new, "--init-from", str(first), "--slope", "4", "--evaluate-every", "10") == 0
    assert capsys.readouterr().out.startswith(
        f"slope 4: train 8, validation 4; line, 2 parameters, with the weights of {first}"
    )
    assert torch.equal(started[0], LINE.load(first).model.weight)
    config = LINE.recorded(new).config
    assert (config.slope, config.schedule.steps) == (4, 20)  # the settings of the other run, and a flag
    # its config.json repeats it, also from a run that was stopped before its first commit
    assert train(tmp_path / "again", "--config", str(new / "config.json")) == 0
    torch.testing.assert_close(state(tmp_path / "again"), state(new), rtol=0, atol=0)

    def stopped(self: Trainer) -> tuple[float, int]:
        raise RuntimeError("killed")

    monkeypatch.setattr(Trainer, "take_step", stopped)
    with pytest.raises(RuntimeError, match="killed"):
        LINE.train(tmp_path / "cut", config, LINE.load_data(config, None), "cut", origin=Origin.of(first))
    monkeypatch.setattr(Trainer, "take_step", take)
    assert train(tmp_path / "cut", "--resume") == 0
    torch.testing.assert_close(state(tmp_path / "cut"), state(new), rtol=0, atol=0)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, capsys: Capture) -> None:
    first, new = tmp_path / "first", tmp_path / "new"
    assert train(first, "--steps", "20") == 0
    assert train(new, "--init-from", str(first), "--no-bias") == 2
    error = capsys.readouterr().err
    assert f"{first}: its weights do not fit this model, which was given bias False (the run has True)" in error
    assert not new.exists()
    assert train(new, "--init-from", str(first), "--preset", "steep") == 2
    assert "the settings come from one of --preset, --config, --init-from and --resume" in capsys.readouterr().err
    # the origin's best model has changed: a run that started with it cannot be repeated
    assert train(new, "--init-from", str(first), "--slope", "4") == 0
    assert train(first, "--resume", "--steps", "40") == 0
    assert train(tmp_path / "again", "--config", str(new / "config.json")) == 2
    assert (
        "its best model is now that of step 40, no longer the one that the run started with" in capsys.readouterr().err
    )


def test_training_ends_where_validations_bring_nothing(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best is that of step 4; two validations later the training ends, is not continued, and what it read is logged."""
    scores = {2: 3.0, 4: 2.0, 6: 2.0, 8: 2.5}
    given = ("--patience", "2", "--evaluate-every", "2", "--log-every", "5")

    def validate(self: LineTask) -> dict[str, float]:
        return {"validation_loss": scores[self.epochs_read]}

    def loss(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        self.epochs_read = step + 1
        return own(self, step, part)

    own = LineTask.loss
    monkeypatch.setattr(LineTask, "validate", validate)
    monkeypatch.setattr(LineTask, "loss", loss)
    assert train(tmp_path / "run", *given) == 0
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "validation" in line]
    assert lines == [
        "line  2/40  validation: validation_loss 3.0000",
        "line  4/40  validation: validation_loss 2.0000",
        "line  6/40  validation: validation_loss 2.0000 (best: step 4)",
        "line  8/40  validation: validation_loss 2.5000 (best: step 4)",
        "line  8/40  no lower loss in 2 validations: the training ends here (--patience)",
    ]
    assert "\x1b" not in out + err
    assert "best validation at step 4" in out
    assert [row["step"] for row in Run.open(tmp_path / "run").metrics() if "loss" in row] == [5, 8]
    before = state(tmp_path / "run")
    assert train(tmp_path / "run", "--resume") == 0
    torch.testing.assert_close(state(tmp_path / "run"), before, rtol=0, atol=0)
    assert train(tmp_path / "run", "--resume", "--steps", "50") == 2
    assert "taken 8 of 40: resume it without --steps first if it was not stopped early, or" in capsys.readouterr().err
    # stopped between, and resumed, it counts on
    monkeypatch.setitem(scores, 8, 1.9)
    monkeypatch.setitem(scores, 10, 2.0)
    monkeypatch.setitem(scores, 12, 2.0)
    assert train(tmp_path / "two", *given) == 0
    assert state(tmp_path / "two")["step"] == 12


def test_a_warmup_longer_than_the_training_is_explained(tmp_path: Path, capsys: Capture) -> None:
    assert train(tmp_path / "run", "--steps", "3", "--warmup", "500") == 0
    line = (
        "warmup 500 is longer than the training of 3 steps: the learning rate only rises, to 0.003 instead of 0.5; give"
    )
    assert capsys.readouterr().err.startswith(line)
    assert cli.main(["line", "compare", "--steps", "3", "--warmup", "500", "--out", str(tmp_path / "both")]) == 0
    assert capsys.readouterr().err.count("is longer than the training") == 1


def test_curves_of_runs_that_ended_early_have_a_mean() -> None:
    assert mean_curve([[(1, 2.0), (2, 3.0), (4, 5.0)], [(1, 4.0), (2, 1.0), (3, 0.0)]]) == [(1, 3.0), (2, 2.0)]
