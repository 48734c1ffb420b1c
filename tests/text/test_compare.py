"""Comparisons: equal sizes, several seeds, one table and one plot, finished runs kept."""

import json
import math
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import pytest
from rich.console import Console

from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.experiments.comparison import ComparisonRow, compare, plot, table, training_speed
from hypernetworks.experiments.network_compare import match_networks
from hypernetworks.experiments.results import Result, write_result
from hypernetworks.experiments.statistics import spread
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.runs.run import Run
from hypernetworks.text.commands import Compare
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.sizes import count_parameters, flops_per_character
from hypernetworks.text.task import CharacterTask

PAIR: tuple[str, str] = ("lstm", "hyper-lstm")


@pytest.fixture
def configs(tiny: TextConfig, corpus: Corpus) -> dict[str, TextConfig]:
    """Two networks of 7065 parameters: so small, sizes are far between, but two meet there."""
    config = replace(tiny, schedule=replace(tiny.schedule, steps=2, evaluate_every=1))
    return match_networks(
        dict.fromkeys(PAIR, config), PAIR, 7065, partial(count_parameters, symbols=len(corpus.alphabet))
    )


def test_all_networks_are_matched_within_one_percent(tiny: TextConfig) -> None:
    made = match_networks(dict.fromkeys(FAMILIES, tiny), tuple(FAMILIES), 50_000, partial(count_parameters, symbols=65))
    assert tuple(made) == tuple(FAMILIES)
    for name, config in made.items():
        assert config.model.network == name
        assert abs(count_parameters(config.model, 65) - 50_000) <= 500
        assert config == replace(tiny, model=replace(tiny.model, network=name, hidden_size=config.model.hidden_size))


def runs_of(folder: Path) -> list[dict]:
    return Run.open(folder).metrics()


def test_two_networks_with_two_seeds_are_compared(
    configs: dict[str, TextConfig], corpus: Corpus, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    rows = compare(TEXT, tmp_path, configs, (3, 5), corpus, resume=False)
    folders = [f"{name}-seed{seed}" for name in PAIR for seed in (3, 5)]
    picture, *others = plot(TEXT, tmp_path, rows, "a title")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "toy.txt") == sorted(
        ["compare.json", "compare.svg", "compare-flops.svg", "compare-seconds.svg", "curves.csv", *folders]
    )
    assert json.loads((tmp_path / "compare.json").read_text()) == [asdict(row) for row in rows]
    for row, name in zip(rows, PAIR, strict=True):
        model = configs[name].model
        runs = [Run.open(tmp_path / f"{name}-seed{seed}") for seed in (3, 5)]
        assert row.runs == [str(run.folder) for run in runs]
        assert [run.config["settings"]["schedule"]["seed"] for run in runs] == [3, 5]
        assert (row.variant, row.figures["hidden_size"]) == (name, model.hidden_size)
        assert abs(row.figures["parameters"] - 7065) <= 70
        assert row.figures["parameters"] == sum(tensor.numel() for tensor in runs[0].best_model()[0].values())
        assert row.figures["flops_per_character"] == flops_per_character(model, len(corpus.alphabet))
        assert row.scores["validation_bpc"] == pytest.approx(
            [float(run.best_model()[1]["score"]) / math.log(2) for run in runs], rel=1e-12
        )
        assert row.scores["validation_bpc"][0] != row.scores["validation_bpc"][1]
        speeds = [line["characters_per_second"] for run in runs for line in run.metrics() if "loss" in line]
        assert row.figures["characters_per_second"] == pytest.approx(mean(speeds))
    assert [other.name for other in others] == ["compare-flops.svg", "compare-seconds.svg"]
    lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert lines[0] == "variant,seed,step,seconds,flops,validation_bpc"
    assert len(lines) == 1 + 2 * 2 * 2  # networks, seeds, validations
    lstm = configs["lstm"]
    flops = 3 * flops_per_character(lstm.model, len(corpus.alphabet)) * lstm.batch_size * lstm.length
    variant, seed, step, _, counted, bpc = lines[2].split(",")
    assert (variant, seed, step, float(counted)) == ("lstm", "3", "2", 2 * flops)
    assert float(bpc) == runs_of(tmp_path / "lstm-seed3")[-1]["validation_bpc"]
    drawn = picture.read_text()
    assert "<svg" in drawn
    for text in ("a title", *(f"{row.variant}  {mean(row.scores['validation_bpc']):.3f}" for row in rows)):
        assert f"<!-- {text} -->" in drawn


def test_the_caption_says_what_was_read_and_scored(tiny: TextConfig, corpus: Corpus) -> None:
    steps = -(-2 * len(corpus.train) // (3 * 7))
    settings = replace(tiny, schedule=replace(tiny.schedule, steps=steps), validation_characters=99)
    caption = Compare(settings=settings, seeds=(0, 4)).caption(corpus)
    assert caption.startswith("Validation on 99 characters, mean and range of seeds 0 4; training curves are faint. ")
    assert f" {steps:,} steps read the text 2.0 times. This shows how fast" in caption
    whole = Compare(settings=replace(settings, validation_characters=0)).caption(corpus)
    assert whole.startswith(f"Validation on {len(corpus.validation):,} characters, one seed; ")
    short = Compare(settings=replace(settings, schedule=replace(tiny.schedule, steps=steps // 8))).caption(corpus)
    assert " steps read 25% of the text. This shows how fast" in short


def test_resuming_keeps_finished_runs_and_makes_the_rest(
    configs: dict[str, TextConfig], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, trained = CharacterTask.loss, []

    def counting(self: CharacterTask, step: int, part: slice) -> object:
        trained.append(self.model.config.network)
        if trained == ["lstm", "lstm", "hyper-lstm"]:
            raise KeyboardInterrupt
        return loss(self, step, part)

    monkeypatch.setattr(CharacterTask, "loss", counting)
    with pytest.raises(KeyboardInterrupt):
        compare(TEXT, tmp_path, configs, (0,), corpus, resume=False)
    with pytest.raises(UsageError, match="lstm-seed0: already holds a run: give --resume"):
        compare(TEXT, tmp_path, configs, (0,), corpus, resume=False)
    before = (tmp_path / "lstm-seed0" / "metrics.jsonl").read_bytes()
    trained.clear()
    rows = compare(TEXT, tmp_path, configs, (0,), corpus, resume=True)
    assert trained == ["hyper-lstm"] * 2
    assert (tmp_path / "lstm-seed0" / "metrics.jsonl").read_bytes() == before
    assert compare(TEXT, tmp_path, configs, (0,), corpus, resume=True) == rows
    assert trained == ["hyper-lstm"] * 2
    other = {name: replace(config, batch_size=2) for name, config in configs.items()}
    with pytest.raises(UsageError, match="lstm-seed0: was trained with other settings: give the same ones, or another"):
        compare(TEXT, tmp_path, other, (0,), corpus, resume=True)


def test_what_cannot_be_compared_is_named(tiny: TextConfig, configs: dict[str, TextConfig], corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="networks should all be different, got lstm rhn lstm"):
        match_networks(
            dict.fromkeys(FAMILIES, tiny), ("lstm", "rhn", "lstm"), 50_000, partial(count_parameters, symbols=65)
        )
    with pytest.raises(UsageError, match=r"no lstm has within 1% of 60 parameters"):
        match_networks({"lstm": tiny}, ("lstm",), 60, partial(count_parameters, symbols=65))
    for seeds, shown in (((), "none"), ((1, 2, 1), "1 2 1")):
        with pytest.raises(UsageError, match=f"seeds should be one or more different numbers, got {shown}"):
            compare(TEXT, Path("never"), configs, seeds, corpus, resume=False)


def test_the_table_has_the_best_first_with_its_spread() -> None:
    scores = {"lstm": [2.5, 2.25, 2.0], "rhn": [1.5, 1.5, 1.5]}
    figures = {
        "hidden_size": 7,
        "parameters": 12_345,
        "flops_per_character": 67_890,
        "characters_per_second": 1234.5,
    }
    rows = [ComparisonRow(name, figures, {"validation_bpc": bpc}, ["run"] * 3) for name, bpc in scores.items()]
    assert [spread(bpc, 3) for bpc in scores.values()] == [f"2.250 ± {stdev(scores['lstm']):.3f}", "1.500 ± 0.000"]
    assert spread([1.5], 3) == "1.500"
    console = Console(width=160, record=True, quiet=False, file=None, force_terminal=False)
    with console.capture() as shown:
        console.print(table(TEXT, rows))
    lines = [re.split(r"\s{2,}", line.strip()) for line in shown.get().splitlines() if "12,345" in line]
    assert lines == [
        ["rhn", "7", "12,345", "67,890", "1,234", "1.500 ± 0.000", "−0.750 (−1.371 to −0.129)"],
        ["lstm", "7", "12,345", "67,890", "1,234", "2.250 ± 0.250"],
    ]
    narrow = Console(width=80)
    with narrow.capture() as shown:
        narrow.print(table(TEXT, [replace(rows[0], variant="hyper-lstm-without-norm"), rows[1]]))
    assert "hyper-lstm-without-norm " in shown.get()
    assert "…" not in shown.get()


def test_a_seed_that_cannot_be_is_refused_before_anything_is_trained(
    configs: dict[str, TextConfig], corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="seed should be in"):
        compare(TEXT, tmp_path / "new", configs, (0, -1), corpus, resume=False)
    assert not (tmp_path / "new").exists()


def test_a_comparison_is_not_written_over(configs: dict[str, TextConfig], corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "compare.json").write_text("[]")
    with pytest.raises(UsageError, match="already holds a run: give --resume"):
        compare(TEXT, tmp_path, configs, (0,), corpus, resume=False)
    assert (tmp_path / "compare.json").read_text() == "[]"


def test_the_speed_is_all_characters_over_all_seconds() -> None:
    rows = [
        {"characters_per_second": 10, "seconds": 1.0},
        {"validation_loss": 1.0},
        {"characters_per_second": 40, "seconds": 2.0},
    ]
    assert training_speed(rows, "characters_per_second") == pytest.approx((10 + 80) / 3)


def test_a_run_of_other_settings_is_refused_before_anything_is_trained(
    configs: dict[str, TextConfig], corpus: Corpus, tmp_path: Path
) -> None:
    last = list(configs)[-1]
    compare(TEXT, tmp_path, {last: configs[last]}, (0,), corpus, resume=False)
    other = {name: replace(config, batch_size=2) for name, config in configs.items()}
    with pytest.raises(UsageError, match=f"{last}-seed0: was trained with other settings"):
        compare(TEXT, tmp_path, other, (0,), corpus, resume=True)
    assert not (tmp_path / f"{next(iter(configs))}-seed0").exists()


SIZE = ("--embedding-size=5", "--hyper-size=4", "--hyper-embedding-size=2", "--parameters=50000")
SHORT = (*SIZE, "--steps=2", "--warmup=0", "--evaluate-every=1", "--batch-size=2", "--length=5", "--device=cpu")


def settings_of(folder: Path) -> dict:
    return Run.open(folder).config["settings"]


def test_networks_may_have_settings_of_their_own(toy: Path, tmp_path: Path) -> None:
    given = ["text", "compare", "--corpus", str(toy), *SHORT, "--networks", "lstm", "hyper-lstm", "gru"]
    given += ["--learning-rate", "lstm=0.5", "hyper-lstm=0.25", "--dropout", "0.1", "--dropout", "gru=0.2"]
    assert cli.main([*given, "--out", str(tmp_path / "runs")]) == 0
    found = {}
    for name in ("lstm", "hyper-lstm", "gru"):
        settings = settings_of(tmp_path / "runs" / f"{name}-seed0")
        found[name] = (settings["schedule"]["learning_rate"], settings["model"]["dropout"])
        assert settings["schedule"]["steps"] == 2
        assert settings["corpus"] == str(toy)
    assert found == {"lstm": (0.5, 0.1), "hyper-lstm": (0.25, 0.1), "gru": (3e-3, 0.2)}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--learning-rate", "gru=0.1"], "settings are given for gru, which is not in --networks lstm hyper-lstm"),
        (["--learning-rate", "lstm=fast"], "learning-rate"),
        (["--learning-rate", "elman=0.1"], "elman=0.1"),
        (["--corpus", "lstm=ptb-char"], "all variants read the same data, got ptb-char for lstm"),
        (["--hidden-size", "lstm=8"], "compare chooses --hidden-size itself, got 8: give --parameters"),
        (["--study", "nowhere"], "text study, got nowhere, which is not a folder"),
    ],
)
def test_settings_for_a_network_that_cannot_be(
    flags: list[str], message: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["text", "compare", "--corpus", str(toy), *SHORT, "--networks", "lstm", "hyper-lstm", *flags]
    assert cli.main([*given, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "runs").exists()


def test_a_study_gives_each_network_its_best_settings(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "study" / "results").mkdir(parents=True)
    for name, number, rate, loss in (("lstm", 0, 0.1, 2.0), ("lstm", 1, 0.2, 1.5), ("hyper-lstm", 0, 0.3, 9.0)):
        values = {"schedule.learning_rate": rate, "model.dropout": rate / 2}
        curve = [{"step": 1, "seconds": 1.0, "flops": 1.0, "value": loss}]
        result = Result(f"{name}-trial{number:03}", name, number, 0, "complete", values, curve, {}, {}, {}, {})
        write_result(tmp_path / "study" / "results", result)
    given = ["text", "compare", "--corpus", str(toy), *SHORT, "--networks", "lstm", "hyper-lstm"]
    given += ["--study", str(tmp_path / "study")]
    assert cli.main([*given, "--out", str(tmp_path / "runs")]) == 0
    for name, rate in (("lstm", 0.2), ("hyper-lstm", 0.3)):
        settings = settings_of(tmp_path / "runs" / f"{name}-seed0")
        assert (settings["schedule"]["learning_rate"], settings["model"]["dropout"]) == (rate, rate / 2)
    capsys.readouterr()
    assert cli.main([*given, "--learning-rate", "0.5", "--out", str(tmp_path / "more")]) == 2
    assert "--study sets --learning-rate of lstm, got 0.5, too: leave out one of them" in capsys.readouterr().err
