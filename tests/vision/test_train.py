"""Training an image network: stopped and resumed equals never stopped, presets run, what is learned is kept and compared."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.experiments.comparison import compare
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.vision.config import VisionConfig
from hypernetworks.vision.data import ImageData, load_images
from hypernetworks.vision.evaluate import evaluate
from hypernetworks.vision.experiment import VISION, load_run
from hypernetworks.vision.models import count_parameters
from hypernetworks.vision.presets import PRESETS
from hypernetworks.vision.task import ImageTask

from .conftest import shortened

Capture = pytest.CaptureFixture[str]
train, resume = VISION.train, VISION.resume


@pytest.fixture(autouse=True)
def no_picture(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost more than all the rest of a run."""
    monkeypatch.setattr(import_module("hypernetworks.experiments.experiment"), "draw_run", lambda run: None)


@pytest.mark.parametrize("kernels", ["plain", "generated"])
def test_a_run_stopped_anywhere_and_resumed_equals_one_never_stopped(
    kernels: str, tiny: dict[str, VisionConfig], digits: ImageData, tmp_path: Path
) -> None:
    """Eleven batches make an epoch: step 1 is before the first commit, 3 between two, 13 after one in the second epoch."""
    config = replace(tiny[kernels], schedule=replace(tiny[kernels].schedule, steps=16))
    whole = train(tmp_path / "whole", config, digits, "whole")
    for step in (1, 3, 13):
        folder = tmp_path / f"stopped{step}"
        with pytest.MonkeyPatch.context() as patch:
            stop_before(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train(folder, config, digits, "stopped")
        torch.manual_seed(step)  # another process starts with other random numbers
        resumed = resume(folder, digits, "resumed")
        found, expected = (
            {name: value for name, value in load_trainer(run.folder / "trainer.pt", []).items() if name != "run"}
            for run in (resumed, whole)
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert [row.get("validation_loss") for row in resumed.metrics()] == [
            row.get("validation_loss") for row in whole.metrics()
        ]


def stop_before(patch: pytest.MonkeyPatch, step: int) -> None:
    """An end without warning, in place of the loss of a step (from 0)."""
    loss = ImageTask.loss

    def raising(self: ImageTask, at: int, part: slice) -> Any:
        if at == step:
            raise KeyboardInterrupt
        return loss(self, at, part)

    patch.setattr(ImageTask, "loss", raising)


@pytest.mark.parametrize("kernels", ["plain", "generated"])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_runs_two_steps(name: str, kernels: str, toy_folder: Path, tmp_path: Path) -> None:
    """As shipped but for the number of steps, the batch, and the blocks of the deep nets: one a group."""
    config = shortened({str(k): c for k, c in PRESETS[name].items()}[kernels], 2)
    config = replace(config, model=replace(config.model, depth=10))
    run = train(tmp_path / "run", config, load_images(config.data, toy_folder), name)
    assert load_run(run.folder)[1] == config
    assert [row["step"] for row in run.metrics() if "validation_error" in row] == [2]


def test_the_papers_presets_are_its_schedules() -> None:
    def rates(schedule: Any) -> list[tuple[int, float]]:
        """The last step of each learning rate."""
        ends = [*schedule.decay_steps, schedule.steps]
        return [(end, schedule.rate(end)) for end in ends]

    for width in (1, 2):
        plain, generated = (PRESETS[f"paper-wrn-40-{width}"][kernels] for kernels in ("plain", "generated"))
        assert plain.schedule.optimizer == "sgd"
        assert rates(plain.schedule) == [
            (28_000, 0.1), (56_000, 0.02), (84_000, 0.004), (112_000, 0.0008), (140_000, 0.00016)
        ]  # fmt: skip
        assert plain.schedule.rate(28_001) == 0.02
        assert generated.schedule.optimizer == "adam"
        assert rates(generated.schedule) == [(168_000, 0.002), (336_000, 0.001), (504_000, 0.0002), (672_000, 0.00005)]
        assert plain.batch_size == generated.batch_size == 128
        assert count_parameters("wrn", generated.model) == {1: 96_570, 2: 147_578}[width]
    for config in PRESETS["paper-mnist"].values():
        assert (config.batch_size, config.schedule.optimizer, config.schedule.weight_decay) == (1000, "adam", 0)
        assert {config.schedule.rate(step) for step in (1, 500, config.schedule.steps)} == {1e-3}


@pytest.mark.parametrize("kernels", ["plain", "generated"])
def test_bars_are_told_apart(kernels: str, tiny: dict[str, VisionConfig], digits: ImageData, tmp_path: Path) -> None:
    schedule = replace(tiny[kernels].schedule, steps=60, evaluate_every=20)
    run = train(tmp_path / "run", replace(tiny[kernels], schedule=schedule), digits, "run")
    model, _ = load_run(run.folder)
    score = evaluate(model, digits.test, digits.views)
    assert (score.images, score.wrong) == (40, 0)
    validated = {row["step"]: row["validation_loss"] for row in run.metrics() if "validation_loss" in row}
    assert evaluate(model, digits.validation, digits.views).loss == validated[int(run.best_model()[1]["step"])]


def test_both_variants_are_compared_and_kept(
    tiny: dict[Any, VisionConfig], digits: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compare(VISION, tmp_path / "pair", tiny, (3, 5), digits, resume=False)
    for row in rows:
        assert row.figures["parameters"] == count_parameters("conv", tiny[row.variant].model)
        expected = [evaluate(load_run(Path(run))[0], digits.test, digits.views).error for run in row.runs]
        assert row.scores["test_error"] == expected
    with pytest.raises(UsageError, match="already holds a run: give --resume"):
        compare(VISION, tmp_path / "pair", tiny, (3, 5), digits, resume=False)
    monkeypatch.setattr(ImageTask, "loss", None)  # finished runs are only read
    assert compare(VISION, tmp_path / "pair", tiny, (3, 5), digits, resume=True) == rows


def test_other_images_are_refused(tiny: dict[str, VisionConfig], digits: ImageData, tmp_path: Path) -> None:
    train(tmp_path / "run", tiny["plain"], digits, "run")
    other = replace(digits, sha256="0" * 64)
    with pytest.raises(UsageError, match="was trained on other data than mnist has now"):
        resume(tmp_path / "run", other, "run")


SHORT = ["--preset", "mnist", "--steps", "2", "--warmup", "1", "--evaluate-every", "1", "--batch-size", "10"]


def test_the_commands_train_compare_and_evaluate(toy_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    data, out = ["--data-dir", str(toy_folder)], tmp_path / "run"
    given = ["vision", "train", *SHORT, "--kernels", "generated", *data, "--out", str(out)]
    assert cli.main(given) == 0
    printed = capsys.readouterr().out
    assert "mnist: train 110, validation 10, test 40 images; conv, generated kernels, 12,910 parameters" in printed
    assert cli.main(["vision", "train", "--out", str(out), "--resume", *data]) == 0
    assert cli.main(["vision", "evaluate", str(out), *data]) == 0
    assert "on mnist, test: " in capsys.readouterr().out
    pair = tmp_path / "pair"
    assert cli.main(["vision", "compare", *SHORT, *data, "--out", str(pair)]) == 0
    names = [
        "compare-seconds.svg",
        "compare.json",
        "compare.svg",
        "curves.csv",
        "generated-seed0",
        "kernels.svg",
        "plain-seed0",
    ]
    assert sorted(path.name for path in pair.iterdir()) == names
    for kernels in ("plain", "generated"):
        settings = json.loads((pair / f"{kernels}-seed0" / "config.json").read_text())["settings"]
        assert (settings["batch_size"], settings["schedule"]["steps"]) == (10, 2)
        assert settings["model"]["kernels"] == kernels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train", "--preset", "mnits"], "preset should be one of mnist, "),
        (["train", "--kernels", "made"], "kernels should be plain or generated, got 'made'"),
        (["train", "--network", "conv"], "Unrecognized options: --network"),
        (
            ["train", "--batch-size", "111"],
            "batch_size should be at most the number of training examples, 110, got 111",
        ),
        (["train", "--decay", "steps"], "decay steps requires final_fraction 1"),
        (["train", "--resume"], "no such folder, expected a run"),
        (["compare", "--kernels", "generated"], "compare chooses --kernels itself, got generated"),
        (["compare", "--seed", "3"], "compare chooses --seed itself, got 3"),
        (["compare", "--seeds", "1", "1"], "seeds should be one or more different numbers, got 1 1"),
    ],
)
def test_mistakes_get_one_line(
    given: list[str], message: str, toy_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert cli.main(["vision", *given, "--out", str(tmp_path / "new"), "--data-dir", str(toy_folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "new").exists()


def test_a_config_does_its_run_again_to_the_same_bits(toy_folder: Path, tmp_path: Path, capsys: Capture) -> None:
    data = ["--data-dir", str(toy_folder)]
    short = ["--kernels=generated", "--steps=4", "--warmup=1", "--evaluate-every=2", "--batch-size=10", "--device=cpu"]
    assert cli.main(["vision", "train", *data, *short, "--out", str(tmp_path / "run")]) == 0
    config = tmp_path / "run" / "config.json"
    torch.manual_seed(7)  # another process starts with other random numbers
    assert cli.main(["vision", "train", *data, "--config", str(config), "--out", str(tmp_path / "again")]) == 0
    one, other = (load_trainer(tmp_path / name / "trainer.pt", []) for name in ("run", "again"))
    for state in (one, other):
        del state["run"]  # the metrics, which have times in them
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    foreign = json.loads(config.read_text())
    foreign["images"]["sha256"] = "0" * 64
    config.write_text(json.dumps(foreign))
    capsys.readouterr()
    assert cli.main(["vision", "train", *data, "--config", str(config), "--out", str(tmp_path / "third")]) == 2
    assert "config.json: was trained on other data than mnist has now" in capsys.readouterr().err
