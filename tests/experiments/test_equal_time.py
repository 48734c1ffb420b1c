"""Comparing at equal training time: measured steps, stretched runs, resumed as the rest, and reported apart."""

import json
import shutil
from pathlib import Path

import pytest

from hypernetworks.errors import UsageError
from hypernetworks.experiments.equal_time import (
    EqualTime,
    measure_steps,
    read_step_times,
    write_step_times,
)
from hypernetworks.experiments.record import read_record
from hypernetworks.experiments.results import read_results
from hypernetworks.experiments.study import best_trial
from hypernetworks.experiments.study_report import write_report

from .studies import DATA, configure, study
from .toy import LINE, LineTask

pytest.importorskip("optuna")
pytestmark = pytest.mark.usefixtures("no_picture")

PAIR = ("with-bias", "without")


@pytest.fixture
def finished(whole: Path, tmp_path: Path) -> Path:
    """A finished study in which a step with a bias takes 2 ms and one without 0.9."""
    shutil.copytree(whole, tmp_path / "study")
    write_step_times(tmp_path / "study", {"with-bias": 2e-3, "without": 0.9e-3})
    return tmp_path / "study"


def test_the_steps_are_those_that_fit_in_the_time_of_the_slowest() -> None:
    made = EqualTime.of({"a": 0.3, "b": 0.1, "c": 0.07}, {"a": 7, "b": 7, "c": 7})
    assert made.steps == {"a": 7, "b": 21, "c": 30}
    assert made.seconds == pytest.approx(2.1)
    assert made.stretched == ["b", "c"]
    for milliseconds in range(1, 200):  # whatever is rounded, the slowest keeps its own steps
        assert EqualTime.of({"a": milliseconds / 1000, "b": 1e-9}, {"a": 1225, "b": 1}).steps["a"] == 1225


def test_steps_are_measured_in_turn_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, taken, now = LineTask.loss, [], [0.0]

    def noting(self: LineTask, step: int, part: slice) -> object:
        biased = self.model.bias is not None
        taken.append(biased)
        now[0] += (2.0 if biased else 1.0) + 1 / len(taken)  # each step is shorter than those before
        return loss(self, step, part)

    monkeypatch.setattr(LineTask, "loss", noting)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    configs = {variant: configure(variant, {"schedule.learning_rate": 0.1}) for variant in PAIR}
    seconds = measure_steps(LINE, configs, DATA)
    assert taken[2:14] == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    last = [max(k for k, biased in enumerate(taken, 1) if biased is which) for which in (True, False)]
    assert seconds == {"with-bias": pytest.approx(2 + 1 / last[0]), "without": pytest.approx(1 + 1 / last[1])}
    assert not any(tmp_path.iterdir())


def test_what_is_faster_is_trained_again_with_its_schedule_stretched(finished: Path) -> None:
    before = {path.name: path.read_bytes() for path in (finished / "results").glob("*.json")}
    study(finished, resume=True).work_at_equal_time(PAIR)
    again = read_results(finished / "results" / "equal-time")
    assert set(again) == {"without-equal-time-seed1", "without-equal-time-seed2"}
    best = best_trial(read_results(finished / "results"), "without", finished)
    for result in again.values():
        assert result.values == best.values
        assert result.settings["schedule"]["steps"] == 13  # of 2 · 6/0.9
        assert [point["step"] for point in result.curve] == [2, 4, 6, 8, 10, 12, 13]
    assert {path.name: path.read_bytes() for path in (finished / "results").glob("*.json")} == before
    assert json.loads((finished / "equal-time.json").read_text()) == {
        "own": {"with-bias": 6, "without": 6},
        "steps": {"with-bias": 6, "without": 13},
        "seconds": 0.012,
    }
    log = (finished / "study.log").read_text()
    assert sum("without-equal-time-seed" in line for line in log.splitlines()) == 2
    study(finished, resume=True).work_at_equal_time(PAIR)
    assert (finished / "study.log").read_text() == log


@pytest.mark.parametrize("step", [2, 14, 20])
def test_killed_anywhere_and_resumed_it_equals_one_never_killed(step: int, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "killed")
    study(finished, resume=True).work_at_equal_time(PAIR)
    loss, taken = LineTask.loss, []

    def failing(self: LineTask, at: int, part: slice) -> object:
        taken.append(at)
        if len(taken) == step:
            raise KeyboardInterrupt
        return loss(self, at, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LineTask, "loss", failing)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "killed", resume=True).work_at_equal_time(PAIR)
    write_step_times(tmp_path / "killed", {"with-bias": 1e-3, "without": 3e-3})  # measured again meanwhile
    study(tmp_path / "killed", resume=True).work_at_equal_time(PAIR)
    curves = [
        {
            name: [(point["step"], point["value"]) for point in result.curve]
            for name, result in read_results(folder / "results" / "equal-time").items()
        }
        for folder in (finished, tmp_path / "killed")
    ]
    assert curves[0] == curves[1]


def test_the_report_has_measured_times_and_the_runs_at_equal_time(finished: Path) -> None:
    write_report(LINE, finished, read_record(finished), "a title")
    assert "## At equal training time" not in (finished / "report.md").read_text()
    study(finished, resume=True).work_at_equal_time(PAIR)
    write_report(LINE, finished, read_record(finished), "a title")
    text = (finished / "report.md").read_text()
    head = next(line for line in text.splitlines() if line.startswith("| variant | parameters"))
    assert "| ms/step |" in head
    assert "points per second" not in head
    equal = text.partition("## At equal training time")[2]
    again = read_results(finished / "results" / "equal-time").values()
    own = [result for result in read_results(finished / "results").values() if result.is_final]
    means = {
        "without": sum(result.score for result in again) / 2,
        "with-bias": sum(result.score for result in own if result.variant == "with-bias") / 2,
    }
    assert f"| without | 13 | {means['without']:.4f} ± " in equal
    assert f"| with-bias | 6 | {means['with-bias']:.4f} ± " in equal
    assert f"{means['without'] - means['with-bias']:+.4f} (".replace("-", "−") in equal
    rows = [line.split(",") for line in (finished / "curves.csv").read_text().splitlines()[1:]]
    for variant, _, step, seconds, *_ in rows:
        assert float(seconds) == pytest.approx(int(step) * (2e-3 if variant == "with-bias" else 0.9e-3), abs=1e-3)
    (finished / "results" / "equal-time" / "without-equal-time-seed2.json").unlink()
    assert read_record(finished).at_equal_time == []  # not before all have finished


def test_what_cannot_be_compared_is_named_and_nothing_is_lost(finished: Path) -> None:
    work = study(finished, resume=True)
    for variants, message in (
        (("with-bias", "lstm"), "--equal-time takes variants of the study, got lstm"),
        (("without",), "--equal-time compares two or more variants, got without"),
    ):
        with pytest.raises(UsageError, match=message):
            work.work_at_equal_time(variants)
    times = (finished / "step-times.json").read_bytes()
    for damaged in (b"", b'{"milliseconds": {"without": 1}}', b'{"milliseconds": {"without": 0, "with-bias": 1}}'):
        (finished / "step-times.json").write_bytes(damaged)
        with pytest.raises(
            UsageError, match=r"step-times\.json: not .*: put back the file, or measure again with --resume"
        ):
            work.work_at_equal_time(PAIR)
    (finished / "step-times.json").unlink()
    assert read_step_times(finished, PAIR) == {}
    with pytest.raises(UsageError, match="no step times: measure them with --time"):
        work.work_at_equal_time(PAIR)
    (finished / "step-times.json").write_bytes(times)
    made = b'{"own": {"without": 6, "other": 6}, "steps": {"without": 6, "other": 8}, "seconds": 1}'
    for content, message in (
        (made, "holds a comparison at equal time of without other"),
        (b"{}", "equal-time.json: not a"),
    ):
        (finished / "equal-time.json").write_bytes(content)
        with pytest.raises(UsageError, match=message):
            work.work_at_equal_time(PAIR)


def test_the_times_are_measured_with_the_best_settings(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def noting(experiment: object, configs: dict, data: object) -> dict[str, float]:
        given.update(configs)
        return dict.fromkeys(configs, 0.004)

    monkeypatch.setattr("hypernetworks.experiments.study.measure_steps", noting)
    study(finished, resume=True).measure()
    results = read_results(finished / "results")
    for variant, config in given.items():
        assert config.schedule.learning_rate == best_trial(results, variant, finished).values["schedule.learning_rate"]
    assert read_step_times(finished, PAIR) == dict.fromkeys(PAIR, 0.004)
    assert json.loads((finished / "step-times.json").read_text())["environment"]["machine"]
