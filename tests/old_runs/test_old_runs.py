"""Runs written by earlier versions are opened, evaluated, sampled and resumed by this one."""

import shutil
from pathlib import Path

import pytest

from hypernetworks import cli
from hypernetworks.runs.run import Run
from hypernetworks.text import load_run as load_text
from hypernetworks.vision import load_run as load_vision

from .data import write_data

HERE = Path(__file__).parent

# of the whole run, by the version that wrote the folder: (validation loss of step 2, losses of steps 3 and 4, validation of 4)
FIGURES = {
    "text": [3.0601679406534714, 3.1303794384002686, 3.1567835807800293, 3.0506086243620985],
    "vision": [2.3234012126922607, 2.287069082260132, 2.3118319511413574, 2.3214516639709473],
}

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that find the data of the kept runs and no others."""
    monkeypatch.setenv("HYPERNETWORKS_DATA", str(tmp_path / "nothing"))
    (tmp_path / "data").mkdir()
    write_data(tmp_path / "data")
    return ["--data-dir", str(tmp_path / "data")]


def test_settings_and_model_of_a_text_run() -> None:
    model, config, symbols = load_text(HERE / "text")
    assert (config.model.network, config.model.hidden_size, config.model.depth) == ("hyper-lstm", 6, 3)
    assert (config.corpus, config.length, config.schedule.steps) == ("ptb-char", 7, 4)
    assert len(symbols.alphabet) == model.head.out_features == 22


def test_settings_and_model_of_a_vision_run() -> None:
    model, config = load_vision(HERE / "vision")
    assert (config.data, config.model.kernels, config.model.embedding_size) == ("mnist", "generated", 1)
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 10_267


@pytest.mark.parametrize("name", FIGURES)
def test_it_is_evaluated(name: str, data: list[str], capsys: Capture) -> None:
    assert cli.main([name, "evaluate", str(HERE / name), "--split", "validation", "--device", "cpu", *data]) == 0
    assert f"{FIGURES[name][0]:.4f}" in capsys.readouterr().out


def test_it_generates(capsys: Capture) -> None:
    assert cli.main(["text", "generate", str(HERE / "text"), "--length", "30", "--device", "cpu"]) == 0
    assert len(capsys.readouterr().out) == 31


@pytest.mark.parametrize("name", FIGURES)
def test_it_is_resumed_to_the_numbers_that_its_own_version_reached(
    name: str, data: list[str], tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(HERE / name, run)
    assert cli.main([name, "train", "--resume", "--out", str(run), *data]) == 0
    rows = Run.open(run).metrics()
    found = [row.get("loss", row.get("validation_loss")) for row in rows if row["step"] > 2 or "loss" not in row]
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 4, 4]
    assert found == pytest.approx(FIGURES[name], rel=1e-4)  # another machine or version of torch may round differently
    assert (run / "model.safetensors").is_file()


@pytest.mark.parametrize("name", FIGURES)
def test_its_settings_do_a_run_again(name: str, data: list[str], tmp_path: Path) -> None:
    config, run = HERE / name / "config.json", tmp_path / "again"
    assert cli.main([name, "train", "--config", str(config), "--out", str(run), *data]) == 0
    rows = Run.open(run).metrics()
    found = [row.get("loss", row.get("validation_loss")) for row in rows if row["step"] > 2 or "loss" not in row]
    assert found == pytest.approx(FIGURES[name], rel=1e-4)
