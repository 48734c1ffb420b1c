"""A study: equal trials for all, killed anywhere and continued to the same results, several processes, and bad plans."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock

optuna = pytest.importorskip("optuna")

from hypernetworks.errors import FaultError, UsageError  # noqa: E402
from hypernetworks.experiments.job import Job  # noqa: E402
from hypernetworks.experiments.plan import Plan  # noqa: E402
from hypernetworks.experiments.record import read_record  # noqa: E402
from hypernetworks.experiments.results import read_results  # noqa: E402
from hypernetworks.experiments.search import Pruning, Search, TrialResult  # noqa: E402
from hypernetworks.experiments.space import Range, changed, space_from_json  # noqa: E402
from hypernetworks.experiments.study import Study, best_trial  # noqa: E402
from hypernetworks.experiments.study_report import _drawn, write_report  # noqa: E402
from hypernetworks.experiments.study_tables import by_variant  # noqa: E402

from .studies import SPACE, configure, plan, study, timeless  # noqa: E402
from .toy import LINE, LineConfig, LineTask, Points  # noqa: E402

pytestmark = pytest.mark.usefixtures("no_picture")


def test_every_variant_has_as_many_trials_and_its_best_settings_in_the_finals(whole: Path) -> None:
    results = read_results(whole / "results")
    for variant in ("with-bias", "without"):
        trials = [result for result in results.values() if result.is_trial_of(variant)]
        assert sorted(result.trial for result in trials) == [0, 1, 2, 3, 4]
        assert {result.state for result in trials} == {"complete", "pruned"}
        for result in trials:
            assert result.seed == 0
            assert 1e-3 <= result.values["schedule.learning_rate"] <= 1
            assert result.settings["schedule"]["steps"] == 4
            assert [point["step"] for point in result.curve] == ([2, 4] if result.state == "complete" else [2])
        best = min((result for result in trials if result.state == "complete"), key=lambda result: result.score)
        assert best_trial(results, variant, whole) == best
        finals = [result for result in results.values() if result.variant == variant and result.trial is None]
        assert [result.seed for result in finals] == [1, 2]
        for result in finals:
            assert result.values == best.values
            assert result.settings["schedule"] | {"seed": 0} == best.settings["schedule"] | {"steps": 6, "seed": 0}
            assert [point["step"] for point in result.curve] == [2, 4, 6]
    assert not any((whole / "trials").iterdir())
    assert sorted(path.name for path in (whole / "finals").iterdir()) == sorted(
        name for name in results if "seed" in name
    )
    lines = (whole / "study.log").read_text().splitlines()
    assert len(lines) == len(results) == 14
    assert all(sum(f"  {name}  " in line for line in lines) == 1 for name in results)
    assert all(path.stat().st_size < 5000 for path in (whole / "results").iterdir())


def test_trials_are_pruned_above_the_median(whole: Path) -> None:
    for variant in ("with-bias", "without"):
        trials = [result for result in read_results(whole / "results").values() if result.is_trial_of(variant)]
        for result in trials[2:]:
            before = [other.curve[0]["value"] for other in trials[: result.trial]]
            assert (result.state == "pruned") == (result.curve[0]["value"] > float(torch.tensor(before).quantile(0.5)))


@pytest.mark.parametrize("steps", [1, 3, 9, 30, 41])
def test_a_study_killed_anywhere_and_resumed_equals_one_never_killed(steps: int, whole: Path, tmp_path: Path) -> None:
    loss, taken = LineTask.loss, []

    def failing(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        taken.append(step)
        if len(taken) == steps:
            raise KeyboardInterrupt
        return loss(self, step, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LineTask, "loss", failing)
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "study").work()
    torch.manual_seed(3)
    study(tmp_path / "study", resume=True).work()
    assert timeless(tmp_path / "study") == timeless(whole)


def test_a_lost_storage_is_made_again_from_the_results(whole: Path, tmp_path: Path) -> None:
    """Killed between the third result and its entry into a storage that is then lost: nothing finished is trained again."""
    shutil.copytree(whole, tmp_path / "study")
    (tmp_path / "study" / "search.db").unlink()
    for name in ("with-bias-trial003", "without-trial002", "without-seed2"):
        (tmp_path / "study" / "results" / f"{name}.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "results").iterdir()}
    study(tmp_path / "study", resume=True).work()
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "study" / "results").iterdir()}
    assert before.items() < after.items()
    found = read_results(tmp_path / "study" / "results")
    for variant in ("with-bias", "without"):
        assert sum(result.is_trial_of(variant) for result in found.values()) == 5
    assert "without-seed2" in found


def claimed(study: Study) -> tuple[Job, FileLock]:
    """What a process claims next."""
    found = study._next()
    assert found is not None
    return found


def do(study: Study, found: tuple[Job, FileLock]) -> None:
    """Train what was claimed."""
    study._worker.do(found[0])
    found[1].release()


def test_two_processes_share_the_trials(whole: Path, tmp_path: Path) -> None:
    """What one process is training is left to it; each trial and run is trained once."""
    first = study(tmp_path / "study")
    second = study(tmp_path / "study", resume=True)
    held, other = claimed(first), claimed(second)
    assert (held[0].variant, other[0].variant) == ("with-bias", "without")
    do(second, other)
    for _ in range(8):
        job = claimed(second)
        assert job[0].name != held[0].name
        do(second, job)
    for seed in (1, 2):  # one variant is ready, the other waits for the first process
        job = claimed(second)
        assert job[0].name == f"without-seed{seed}"
        do(second, job)
    assert second._next() is None
    do(first, held)
    second.work()
    assert len(read_results(tmp_path / "study" / "results")) == 14
    assert timeless(tmp_path / "study").keys() == timeless(whole).keys()


def test_a_diverged_trial_counts_and_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, built = LineTask.loss, []
    make = LineTask.__init__

    def noting(self: LineTask, *given: object) -> None:
        built.append(self)
        make(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(LineTask, "__init__", noting)
    monkeypatch.setattr(
        LineTask,
        "loss",
        lambda self, step, part: (loss(self, step, part)[0] * (torch.inf if self is built[0] else 1), 4),
    )
    study(tmp_path / "study").work()
    result = read_results(tmp_path / "study" / "results")["with-bias-trial000"]
    assert (result.state, result.curve) == ("diverged", [])
    assert "with-bias-trial000  diverged before its first validation" in (tmp_path / "study" / "study.log").read_text()
    assert len(read_results(tmp_path / "study" / "results")) == 14


def diverge_at(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Let runs with seed 2, which are final, diverge after `last` steps."""
    make, loss, seeds = LineTask.__init__, LineTask.loss, {}

    def noting(self: LineTask, model: torch.nn.Linear, config: LineConfig, data: Points) -> None:
        make(self, model, config, data)
        seeds[id(self.model)] = config.schedule.seed

    def infinite(self: LineTask, step: int, part: slice) -> tuple[torch.Tensor, int]:
        value, count = loss(self, step, part)
        return value * (torch.inf if seeds[id(self.model)] == 2 and step >= last else 1), count

    monkeypatch.setattr(LineTask, "__init__", noting)
    monkeypatch.setattr(LineTask, "loss", infinite)


def test_a_diverged_final_run_counts_with_its_best_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverge_at(monkeypatch, 3)
    study(tmp_path / "study").work()
    results = read_results(tmp_path / "study" / "results")
    assert len(results) == 14
    for variant in ("with-bias", "without"):
        result = results[f"{variant}-seed2"]
        assert result.state == "diverged"
        assert [point["step"] for point in result.curve] == [2]
        assert result.score == result.curve[0]["value"]
        assert result.figures == {}
    record = read_record(tmp_path / "study")
    write_report(LINE, tmp_path, record, "lines")
    report = (tmp_path / "report.md").read_text()
    assert report.count("(1 diverged)") == 2
    assert "| 2 |" in report  # the number of parameters, from the other seed
    assert "counts with the lowest validation loss that it reached before" in report
    # the pictures show the runs that did not diverge, and say how many
    rows = by_variant(record.results)
    drawn = dict(_drawn(rows, {name: {seed: run.curve for seed, run in runs.items()} for name, runs in rows.items()}))
    assert sorted(drawn) == ["with-bias (1 of 2 runs)", "without (1 of 2 runs)"]
    assert drawn["without (1 of 2 runs)"] == [results["without-seed1"].curve]


def test_a_final_run_without_a_model_cannot_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diverge_at(monkeypatch, 1)
    with pytest.raises(FaultError, match=r"seed2: .*it has no model, and a final run cannot be left out"):
        study(tmp_path / "study").work()


def test_a_result_that_another_process_writes_meanwhile_is_not_trained_again(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    place = folder / "results" / "without-seed2.json"
    content = place.read_bytes()
    place.unlink()
    work = study(folder, resume=True)
    claim = work._worker.claim

    def late(job: Job) -> FileLock | None:
        place.write_bytes(content)  # the other process writes its result just before it releases its lock
        return claim(job)

    work._worker.claim = late  # type: ignore[method-assign]
    assert work._next() is None


def test_the_report_has_means_and_paired_differences(whole: Path, tmp_path: Path) -> None:
    results = list(read_results(whole / "results").values())
    write_report(LINE, tmp_path, read_record(whole), "a title")
    text = (tmp_path / "report.md").read_text()
    scores = {
        variant: [result.score for result in results if result.variant == variant and result.trial is None]
        for variant in ("with-bias", "without")
    }
    for variant, found in scores.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {variant} |") and "pruned" in line]
        assert f" {sum(found) / 2:.4f} ± " in row
    difference = sum(a - b for a, b in zip(*scores.values(), strict=True)) / 2
    assert f"{difference:+.4f} (".replace("-", "−") in text
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0] == "variant,seed,step,seconds,flops,validation_loss"
    assert len(lines) == 1 + 2 * 2 * 3


def test_the_settings_in_study_json_are_the_plan(whole: Path) -> None:
    content = json.loads((whole / "study.json").read_text())
    assert content["plan"] == plan().to_json()
    assert space_from_json(content["plan"]["space"], "study.json") == SPACE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": (0, 1)}, "seeds should differ from 0, the seed of the trials, got 0"),
        ({"seeds": (1, 1)}, "seeds should be one or more different ones, got 1 1"),
        ({"variants": ()}, "variants should be one or more different ones, got none"),
        ({"trials": 0}, "trials should be at least 1 and trial_steps at least 0, got 0 and 4"),
    ],
)
def test_plans_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(
            **(
                {"variants": ("a",), "spaces": {}, "configure": configure, "trials": 5, "trial_steps": 4, "seeds": (1,)}
                | changes
            )
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": {"low": 1, "high": 1}}, "low below high, got 1 and 1"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "low above 0, got 0"),
        ({"a": {"choices": []}}, "choices should be one or more values"),
        ({"a": {"low": 1}}, r"x\.json: a should have low and high, or choices, got \{'low': 1\}"),
        ({"a": 3}, r"x\.json: a should have low and high, or choices, got 3"),
    ],
)
def test_spaces_that_cannot_be(values: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space_from_json(values, "x.json")


def test_best_values_at_the_end_of_a_range_are_named(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(whole, folder)
    results = read_results(folder / "results")
    for variant, value in (("with-bias", 0.95), ("without", 0.05)):
        best = best_trial(results, variant, folder)
        path = folder / "results" / f"{best.name}.json"
        values = json.loads(path.read_text())
        values["values"]["schedule.learning_rate"] = value
        path.write_text(json.dumps(values))
    (line,) = study(folder, resume=True).narrow_ranges()
    assert line.startswith("with-bias: the best schedule.learning_rate, 0.95, is at an end of its range of 0.001 to 1:")


@pytest.mark.parametrize(
    ("values", "value", "near"),
    [
        (Range(0.0, 0.5), 0.001, False),
        (Range(0.0, 0.5), 0.48, True),
        (Range(0.1, 0.5), 0.11, True),
        (Range(0.1, 0.5), 0.3, False),
        (Range(1e-3, 1e-1, log=True), 1.2e-3, True),
        (Range(1e-3, 1e-1, log=True), 9e-2, True),
        (Range(1e-3, 1e-1, log=True), 1e-2, False),
        (Range(1e-3, 1e-1, log=True), 7e-2, False),
    ],
)
def test_the_ends_of_a_range_are_its_outer_twentieths(values: Range, value: float, near: bool) -> None:
    assert values.is_near_end(value) == near


def test_settings_are_changed_by_their_paths() -> None:
    made = changed(LineConfig(), {"schedule.learning_rate": 0.5, "slope": 3.0})
    assert (made.schedule.learning_rate, made.slope) == (0.5, 3.0)
    with pytest.raises(UsageError, match=r"no setting 'schedule\.width' in LineConfig"):
        changed(LineConfig(), {"schedule.width": 1})
    with pytest.raises(UsageError, match="learning_rate should be a finite number above 0"):
        changed(LineConfig(), {"schedule.learning_rate": -1.0})


def test_the_search_prefers_what_was_good(tmp_path: Path) -> None:
    """After 40 trials with their best at 0.1, the sampler proposes near there more often than the prior does."""
    search = Search(tmp_path / "search.db", "a", {"rate": Range(1e-3, 1.0, log=True)}, Pruning(1000), 0, "plan")
    proposed = []
    for _ in range(40):
        number, values = search.ask()
        proposed.append(values["rate"])
        losses = [(1, abs(torch.tensor(values["rate"]).log10().item() + 1))]
        search.report(number, losses)
        search.finish(TrialResult(number, "complete", values, losses))
    search.close()
    near = [0.05 < rate < 0.2 for rate in proposed]
    assert sum(near[20:]) > 8  # the prior puts a fifth of its proposals there
