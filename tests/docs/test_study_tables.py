"""The tables of studies on the page of results come from records, and the page has what the records in the repository say."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from hypernetworks import cli
from hypernetworks.experiments.equal_time import write_step_times
from hypernetworks.experiments.results import read_results

from .pages import DOCS

spec = importlib.util.spec_from_file_location("study_tables", DOCS / "study_tables.py")
assert spec is not None
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)

PLACES = (
    "before\n<!-- study seconds -->\nold\n<!-- end of seconds -->\nbetween\n<!-- study none -->\n<!-- end of none -->\n"
)


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> Path:
    """The records of two finished studies, the second with another variant."""
    folder = tmp_path_factory.mktemp("records")
    text = folder / "toy.txt"
    text.write_text("".join(f"{n} is {n * n}, and its half {n / 2}: so it stands.\n" for n in range(60)))
    given = ["text", "study", "--preset", "seconds", "--corpus", str(text), "--trials", "1", "--seeds", "1", "2"]
    for name, networks in (("seconds", ("lstm", "hyper-lstm")), ("seconds+init", ("hyper-lstm:init=paper",))):
        assert cli.main([*given, "--networks", *networks, "--out", str(folder / name)]) == 0
        for other in ("finals", "trials", "locks"):
            shutil.rmtree(folder / name / other)
    return folder


def test_the_page_has_the_tables_of_the_records(records: Path) -> None:
    page = tables.written(PLACES, records)
    assert page.startswith("before\n<!-- study seconds -->\n")
    assert "old" not in page
    assert page.endswith("<!-- end of seconds -->\nbetween\n<!-- study none -->\n<!-- end of none -->\n")
    assert tables.written(page, records) == page
    found = {
        variant: [
            result.score
            for name in ("seconds", "seconds+init")
            for result in read_results(records / name / "results").values()
            if result.is_final and result.variant == variant
        ]
        for variant in ("lstm", "hyper-lstm", "hyper-lstm:init=paper")
    }
    for variant, losses in found.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {variant} | ") and "pruned" in line]
        assert f" {sum(losses) / 2:.4f} ± " in row
    for one, other in (("hyper-lstm", "lstm"), ("hyper-lstm:init=paper", "hyper-lstm")):
        difference = (sum(found[one]) - sum(found[other])) / 2
        assert f"| {one} | {difference:+.4f} (".replace("-0", "−0") in page
    assert "hypernetworks text study --preset seconds --networks hyper-lstm:init=paper --out runs/seconds\n" in page


def test_differences_are_put_into_words() -> None:
    class Run:
        state = "complete"

        def __init__(self, score: float) -> None:
            self.score = score

    def runs(*scores: float) -> dict[int, Run]:
        return {seed: Run(score) for seed, score in enumerate(scores)}

    found = {
        "lstm": runs(2.0, 2.1, 2.2),
        "hyper-lstm": runs(1.5, 1.6, 1.7),
        "layer-norm-lstm": runs(1.4, 1.6, 1.8),
        "gru": runs(1.0, 1.1, 1.2),
        "hyper-gru": runs(1.1, 1.2, 1.31),
    }
    assert tables.verdicts(found) == [
        "- HyperLSTM against layer-norm LSTM: no difference is shown, +0.0000 (−0.2484 to +0.2484).",
        "- HyperLSTM against LSTM: lower by 0.5000 nats (0.5000 to 0.5000).",
        "- HyperGRU against GRU: higher by 0.1033 nats (0.0890 to 0.1177).",  # t = 4.3027 of two degrees
    ]


def test_measured_times_of_one_record_are_shown(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records / "seconds", tmp_path / "seconds")
    write_step_times(tmp_path / "seconds", {"lstm": 0.002, "hyper-lstm": 0.003})
    page = tables.written(PLACES, tmp_path)
    assert "| ms/step |" in page
    assert "| 3.0 |" in next(line for line in page.splitlines() if line.startswith("| hyper-lstm | "))


def test_moving_weights_have_a_table(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records / "seconds", tmp_path / "seconds")
    losses = {"1": {"moving": 1.5, "frozen": 2.0, "fixed": 1.75}, "2": {"moving": 1.0, "frozen": 2.0, "fixed": 1.25}}
    (tmp_path / "seconds" / "fixed-scales.json").write_text(json.dumps(losses))
    page = tables.written(PLACES, tmp_path)
    assert "| moving | 1.2500 ± 0.3536 |  |\n" in page
    assert "| frozen | 2.0000 ± 0.0000 | +0.7500 (−2.4266 to +3.9266) |\n" in page  # t = 12.7062 of one degree
    assert "| fixed | 1.5000 ± 0.3536 | +0.2500 (+0.2500 to +0.2500) |\n" in page


def test_other_plans_and_unfinished_studies_are_refused(records: Path, tmp_path: Path) -> None:
    shutil.copytree(records, tmp_path / "records")
    plan = json.loads((records / "seconds+init" / "study.json").read_text())
    plan["plan"]["trials"] = 7
    (tmp_path / "records" / "seconds+init" / "study.json").write_text(json.dumps(plan))
    with pytest.raises(SystemExit, match=r"seconds\+init: differs from .*seconds in trials"):
        tables.written(PLACES, tmp_path / "records")
    shutil.rmtree(tmp_path / "records" / "seconds+init")
    (tmp_path / "records" / "seconds" / "results" / "lstm-seed2.json").unlink()
    with pytest.raises(SystemExit, match="seconds: not finished: lstm seed 2"):
        tables.written(PLACES, tmp_path / "records")


def test_the_page_is_what_the_records_say() -> None:
    assert tables.main(["--check"]) == 0
