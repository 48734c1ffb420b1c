"""The TensorBoard log holds the metrics, also of a resumed run, and says what is missing."""

import sys
from pathlib import Path

import pytest
from tests.small_run import SETTINGS, TEXT

from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.runs.run import Run
from hypernetworks.runs.tensorboard import TensorBoard
from hypernetworks.text.task import CharacterTask


def test_the_log_holds_the_metrics_of_a_run_stopped_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (tmp_path / "toy.txt").write_text(TEXT)
    given = ["text", "train", *SETTINGS, "--steps=4", "--log-every=1", "--corpus", str(tmp_path / "toy.txt")]
    given += ["--evaluate-every=2", "--log", "tensorboard", "--out", str(tmp_path / "run")]
    loss = CharacterTask.loss

    def failing(self: CharacterTask, step: int, part: slice) -> object:
        if step == 3:
            raise KeyboardInterrupt
        return loss(self, step, part)

    monkeypatch.setattr(CharacterTask, "loss", failing)
    assert cli.main(given) == 130
    monkeypatch.setattr(CharacterTask, "loss", loss)
    assert cli.main(["text", "train", "--resume", "--log", "tensorboard", "--out", str(tmp_path / "run")]) == 0
    log = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    rows = Run.open(tmp_path / "run").metrics()
    names = {name for row in rows for name in row} - {"step"}
    assert set(log.Tags()["scalars"]) == names >= {"loss", "gradient_norm", "learning_rate", "validation_loss"}
    for name in ("loss", "validation_bpc"):
        found = [(event.step, event.value) for event in log.Scalars(name)]
        assert found == [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]


def test_without_tensorboard_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"needs TensorBoard: pip install 'hypernetworks\[tensorboard\]'"):
        TensorBoard(tmp_path)
