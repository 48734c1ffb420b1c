"""The study of character models: equal sizes, searched settings that a network has, and the command from start to report."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.experiments.results import read_results
from hypernetworks.experiments.space import Choices, Range
from hypernetworks.text.sizes import count_parameters
from hypernetworks.text.study import STUDIES, plan_of
from hypernetworks.training.loop import Trainer

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", ["tiny-shakespeare-350k", "tiny-shakespeare-1m"])
def test_every_network_of_a_preset_has_the_size_with_whatever_is_searched(name: str) -> None:
    settings, config, space = STUDIES[name]
    few = {path: Choices(given.choices[-1:]) if isinstance(given, Choices) else given for path, given in space.items()}
    plan = plan_of(settings, config, few, 65)
    for network in settings.networks:
        own = plan.spaces[network]
        assert ("model.hyper_size" in own) == ("model.hyper_size" in space and network.startswith("hyper"))
        assert ("model.depth" in own) == ("model.depth" in space and network.endswith("rhn"))
        values = {path: given.choices[0] if isinstance(given, Choices) else given.high for path, given in own.items()}
        made = plan.configure(network, values)
        assert abs(count_parameters(made.model, 65) - settings.parameters) <= settings.parameters / 100
        assert (made.model.network, made.schedule.learning_rate) == (network, values["schedule.learning_rate"])
        assert made.model.dropout == values["model.dropout"]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"schedule.seed": Choices((1, 2))}, r"the study chooses schedule\.seed itself"),
        ({"model.width": Range(0, 1)}, r"no setting 'width'|no setting 'model\.width'"),
        ({"model.dropout": Range(0, 1.5)}, r"dropout should be in \[0, 1\), got 1.5"),
        ({"model.hyper_size": Choices((4, 400))}, r"no hyper-lstm has within 1% of 50,000 parameters"),
    ],
)
def test_a_space_that_cannot_be_is_refused_before_any_trial(space: dict, message: str) -> None:
    settings, config, _ = STUDIES["seconds"]
    with pytest.raises(UsageError, match=message):
        plan_of(settings, config, space, 65)


def test_a_network_without_a_size_is_named() -> None:
    settings, config, space = STUDIES["seconds"]
    with pytest.raises(UsageError, match=r"no lstm has within 1% of 100 parameters"):
        plan_of(replace(settings, parameters=100), config, space, 65)


def test_the_command_searches_trains_and_reports(toy: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "study"
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--out", str(out)]
    assert cli.main([*given, "--resume"]) == 0
    printed, error = capsys.readouterr()
    assert error.startswith(f"{out}: holds no study yet: starting one\n")
    assert "lstm-trial000  complete  " in printed
    assert (
        "| network | hidden | parameters | FLOPs/char | chars/s | trials | settings | validation loss | test loss |"
        in printed
    )
    assert {path.name for path in out.iterdir()} >= {
        "study.json",
        "study.log",
        "search.db",
        "report.md",
        "curves.csv",
        "study.svg",
        "study-flops.svg",
        "study-seconds.svg",
    }
    results = read_results(out / "results")
    assert set(results) == {
        f"{name}-{end}" for name in ("lstm", "hyper-lstm") for end in ("trial000", "seed1", "seed2")
    }
    assert results["lstm-seed1"].scores["test_loss"] > 0
    assert (out / "finals" / "hyper-lstm-seed2" / "samples.txt").is_file()
    assert results["hyper-lstm-seed1"].sample == (out / "finals" / "hyper-lstm-seed1" / "samples.txt").read_text()
    before = (out / "report.md").read_bytes()
    assert b"## What the models make (seed 1)\n\n### " in before
    assert cli.main([*given, "--resume"]) == 0
    assert (out / "report.md").read_bytes() == before
    capsys.readouterr()
    for change, message in (
        ([], "already holds a study: give --resume to continue it, or another --out"),
        (["--resume", "--steps", "7"], "holds another study: plan.settings.schedule.steps is 6 there, got 7"),
        (["--network", "gru"], "a study chooses --network itself, got gru: give --networks"),
        (["--space", str(toy)], "not valid JSON"),
    ):
        assert cli.main([*given, *change]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
    (out / "search.db").write_bytes(b"damaged")
    assert cli.main([*given, "--resume"]) == 2
    assert "search.db: damaged (file is not a database): remove it and give --resume" in capsys.readouterr().err
    (out / "search.db").unlink()
    assert cli.main([*given, "--resume"]) == 0
    assert read_results(out / "results") == results


def test_a_study_resumes_where_its_text_has_moved_to(toy: Path, tmp_path: Path, capsys: Capture) -> None:
    """An interrupted run of it continues, too: it is not trained from its start again."""
    out = tmp_path / "study"
    given = ["text", "study", "--preset", "seconds", "--trials", "1", "--networks", "lstm", "--out", str(out)]
    take, taken = Trainer.take_step, []

    def stopped(self: Trainer) -> tuple[float, int]:
        if "lstm-seed2" in str(self.run.folder):
            taken.append(self.step)
            if taken == [0, 1, 2]:
                raise KeyboardInterrupt
        return take(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "take_step", stopped)
        assert cli.main([*given, "--corpus", str(toy)]) == 130
        results = read_results(out / "results")
        moved = toy.rename(tmp_path / "moved.txt")
        assert cli.main([*given, "--corpus", str(moved), "--resume"]) == 0
    assert taken == [0, 1, 2, 2, 3, 4, 5]
    assert {name: read_results(out / "results")[name] for name in results} == results
    assert read_results(out / "results").keys() - results == {"lstm-seed2"}
    moved.write_text(moved.read_text() + "more")
    capsys.readouterr()
    assert cli.main([*given, "--corpus", str(moved), "--resume"]) == 2
    line = capsys.readouterr().err
    assert f"{out}: was trained on other data than {moved} has now: {toy} with the sha256 " in line
    assert f"; now {moved} with the sha256 " in line


def test_the_space_may_be_given_as_a_file(toy: Path, tmp_path: Path) -> None:
    space = {"schedule.learning_rate": {"choices": [0.25]}}
    (tmp_path / "space.json").write_text(json.dumps(space))
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--networks", "lstm"]
    assert cli.main([*given, "--space", str(tmp_path / "space.json"), "--out", str(tmp_path / "study")]) == 0
    results = read_results(tmp_path / "study" / "results")
    assert {tuple(result.values.items()) for result in results.values()} == {(("schedule.learning_rate", 0.25),)}
    assert json.loads((tmp_path / "study" / "study.json").read_text())["plan"]["space"] == space


def test_times_are_measured_and_networks_compared_at_equal_time(toy: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "study"
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--out", str(out)]
    assert cli.main([*given, "--equal-time", "lstm", "hyper-lstm"]) == 2
    assert "no step times: measure them with --time, when nothing else runs" in capsys.readouterr().err
    assert cli.main([*given, "--resume", "--time"]) == 0
    assert "| ms/step |" in capsys.readouterr().out
    times = json.loads((out / "step-times.json").read_text())["milliseconds"]
    assert set(times) == {"lstm", "hyper-lstm"}
    assert all(time > 0 for time in times.values())
    (out / "step-times.json").write_text('{"milliseconds": {"lstm": 2, "hyper-lstm": 3}}')
    assert cli.main([*given, "--resume", "--equal-time", "lstm", "hyper-lstm"]) == 0
    assert "## At equal training time" in capsys.readouterr().out
    again = read_results(out / "results" / "equal-time")
    assert {name: result.settings["schedule"]["steps"] for name, result in again.items()} == {
        "lstm-equal-time-seed1": 9,
        "lstm-equal-time-seed2": 9,
    }
    assert again["lstm-equal-time-seed1"].sample


def test_a_study_of_an_earlier_version_continues(toy: Path, tmp_path: Path) -> None:
    """Its study.json and results lack the settings that were added since, and its results the sample and the checksum."""
    out = tmp_path / "study"
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--networks", "lstm"]
    assert cli.main([*given, "--out", str(out)]) == 0
    content = json.loads((out / "study.json").read_text())
    del content["plan"]["settings"]["model"]["init"]
    (out / "study.json").write_text(json.dumps(content))
    for path in (out / "results").glob("*.json"):
        values = json.loads(path.read_text())
        del values["settings"]["model"]["init"], values["sample"], values["study"]
        path.write_text(json.dumps(values))
    (out / "search.db").unlink()
    (out / "results" / "lstm-seed2.json").unlink()
    log = (out / "study.log").read_text()
    assert cli.main([*given, "--out", str(out), "--resume"]) == 0
    assert (out / "study.log").read_text().startswith(log)
    assert (out / "study.log").read_text().count("\n") == log.count("\n") + 1
    report = (out / "report.md").read_text()
    assert (out / "finals" / "lstm-seed1" / "samples.txt").read_text().splitlines()[1] in report


def test_a_variant_of_a_network_has_its_own_trials_and_runs(toy: Path, tmp_path: Path) -> None:
    given = ["text", "study", "--preset", "seconds", "--corpus", str(toy), "--trials", "1", "--seeds", "1"]
    networks = ["--networks", "hyper-lstm", "hyper-lstm:init=paper"]
    assert cli.main([*given, *networks, "--out", str(tmp_path / "study")]) == 0
    results = read_results(tmp_path / "study" / "results")
    assert {name: result.settings["model"]["init"] for name, result in results.items()} == {
        f"hyper-lstm{own}-{end}": init
        for own, init in (("", "default"), (":init=paper", "paper"))
        for end in ("trial000", "seed1")
    }
