"""Training a character model: stopped and resumed equals never stopped, state carried, what the folder holds, what is kept."""

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.errors import FaultError, UsageError
from hypernetworks.experiments.origin import Origin
from hypernetworks.runs.checkpoint import load_model, load_trainer
from hypernetworks.runs.run import Run
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus, load_corpus
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.experiment import TEXT, load_run
from hypernetworks.text.model import CharacterModel, CharacterModelConfig
from hypernetworks.text.task import CharacterTask
from hypernetworks.training.loop import Trainer
from hypernetworks.training.schedule import Schedule

train, resume = TEXT.train, TEXT.resume


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost more than all the rest of a run."""
    monkeypatch.setattr(import_module("hypernetworks.experiments.experiment"), "draw_run", lambda run: None)


def timeless(run: Run) -> list[dict[str, Any]]:
    """Metrics without what a clock measured."""
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "characters_per_second")}
        for row in run.metrics()
    ]


def weights(folder: Path) -> dict[str, Any]:
    """Everything that trainer.pt holds but the sums over the metrics, which have times in them."""
    return {name: value for name, value in load_trainer(folder / "trainer.pt", []).items() if name != "run"}


def assert_equal(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def with_model(config: TextConfig, network: str) -> TextConfig:
    return replace(config, model=replace(config.model, network=network, num_layers=2))


def stop_before(patch: pytest.MonkeyPatch, step: int) -> None:
    """An end without warning, in place of the loss of a step (from 0)."""
    loss = CharacterTask.loss

    def raising(self: CharacterTask, at: int, part: slice) -> Any:
        if at == step:
            raise KeyboardInterrupt
        return loss(self, at, part)

    patch.setattr(CharacterTask, "loss", raising)


@pytest.mark.parametrize("network", ["lstm", "rhn", "hyper-lstm"])
def test_a_run_stopped_anywhere_and_resumed_equals_one_never_stopped(
    network: str, tiny: TextConfig, corpus: Corpus, tmp_path: Path
) -> None:
    """Dropout, recurrent dropout and resets are on; step 1 is before the first commit, 3 between two, 4 right after one."""
    config = with_model(tiny, network)
    whole = train(tmp_path / "whole", config, corpus, "whole")
    for step in (1, 3, 4):
        folder = tmp_path / f"stopped{step}"
        with pytest.MonkeyPatch.context() as patch:
            stop_before(patch, step)
            with pytest.raises(KeyboardInterrupt):
                train(folder, config, corpus, "stopped")
        torch.manual_seed(step)  # another process starts with other random numbers
        resumed = resume(folder, corpus, "resumed")
        assert timeless(resumed) == timeless(whole)
        assert_equal(weights(folder), weights(whole.folder))
        assert_equal(load_model(folder / "model.safetensors")[0], load_model(whole.folder / "model.safetensors")[0])
        assert (folder / "samples.txt").read_bytes() == (whole.folder / "samples.txt").read_bytes()


def test_resuming_a_finished_run_changes_nothing(tiny: TextConfig, corpus: Corpus, tmp_path: Path) -> None:
    run = train(tmp_path / "run", tiny, corpus, "run")
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    resume(run.folder, corpus, "run")
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_run_folder_holds_all_that_it_should(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    run = train(tmp_path / "run", tiny, corpus, "run")
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "config.json",
        "curve.svg",
        "metrics.jsonl",
        "model.safetensors",
        "samples.txt",
        "trainer.before.pt",
        "trainer.pt",
    ]
    rows = run.metrics()
    assert [(row["step"], "loss" in row) for row in rows] == [
        (n, logged) for n in (2, 4, 6) for logged in (True, False)
    ]
    settings, _, sample = (run.folder / "samples.txt").read_text().partition("\n")
    assert settings == "[length 500, temperature 0.8, top_k 0, top_p 1.0, seed 0]"
    assert len(sample) == 501
    assert set(sample) <= set(corpus.alphabet)


def test_the_best_model_kept_is_that_of_the_lowest_validation(tiny: TextConfig, corpus: Corpus, tmp_path: Path) -> None:
    """A rate that rises too far makes the validation rise again; the weights kept score what the metrics say of their step."""
    config = replace(tiny, schedule=replace(tiny.schedule, steps=10, warmup=9, learning_rate=1.2, evaluate_every=1))
    run = train(tmp_path / "run", config, corpus, "run")
    scores = {row["step"]: row["validation_loss"] for row in run.metrics() if "validation_loss" in row}
    best = min(scores, key=lambda step: scores[step])
    assert 1 < best < 10
    model, found, symbols = load_run(run.folder)
    assert (found, symbols.alphabet, symbols.unit) == (config, corpus.alphabet, "character")
    assert not model.training
    assert run.best_model()[1]["step"] == str(best)
    assert evaluate(model, corpus.validation).nats == scores[best]
    bpc = [row["validation_bpc"] * math.log(2) for row in run.metrics() if "validation_bpc" in row]
    assert bpc == pytest.approx(list(scores.values()))


def test_validation_reads_as_many_characters_as_asked(tiny: TextConfig, corpus: Corpus) -> None:
    model = CharacterModel(tiny.model, len(corpus.alphabet))
    part = CharacterTask(model, replace(tiny, validation_characters=17), corpus).validation
    assert torch.equal(part, corpus.validation[:17])
    assert torch.equal(CharacterTask(model, tiny, corpus).validation, corpus.validation)


@pytest.mark.parametrize("network", ["lstm", "rhn", "hyper-lstm"])
@pytest.mark.parametrize("reset_probability", [0.0, 1.0])
def test_the_state_is_carried_from_step_to_step_but_where_it_is_reset(
    network: str, reset_probability: float, tiny: TextConfig, corpus: Corpus
) -> None:
    config = replace(with_model(tiny, network), reset_probability=reset_probability)
    task = CharacterTask(CharacterModel(config.model, len(corpus.alphabet)), config, corpus)
    states: list[Any] = []
    task.model.network.register_forward_hook(lambda module, given, made: states.append((given[1], made[1])))
    for step in range(3):
        loss, read = task.loss(step, slice(None))
        assert read == config.batch_size * config.length
        loss.backward()  # through one step alone: the graph of the one before is gone
    assert all(tensor.count_nonzero() == 0 for tensor in states[0][0])
    for (_, final), (initial, _) in pairwise(states):
        expected = torch.cat([tensor.flatten() for tensor in ([final] if network == "rhn" else final)])
        found = torch.cat([tensor.flatten() for tensor in ([initial] if network == "rhn" else initial)])
        assert not found.requires_grad
        assert torch.equal(found, expected * (1 - reset_probability))
        assert expected.count_nonzero() == expected.numel()


def test_streams_are_reset_as_often_as_asked_and_whole(tiny: TextConfig, corpus: Corpus) -> None:
    model = replace(tiny.model, recurrent_dropout=0.0)
    config = replace(tiny, model=model, batch_size=40, length=2, reset_probability=0.25)
    task = CharacterTask(CharacterModel(config.model, len(corpus.alphabet)), config, corpus)
    begins: list[Any] = []
    task.model.network.register_forward_hook(lambda module, given, made: begins.append(given[1]))
    for step in range(51):
        task.loss(step, slice(None))
    zero = torch.stack([torch.cat(list(state), dim=-1).squeeze(0) == 0 for state in begins[1:]])
    assert torch.equal(zero.any(dim=-1), zero.all(dim=-1))
    assert abs(zero.all(dim=-1).float().mean() - 0.25) < 0.05  # 2000 draws: 5 standard deviations


def test_a_periodic_text_is_learned(tmp_path: Path, tiny: TextConfig) -> None:
    path = tmp_path / "periodic.txt"
    path.write_text("abcab" * 400)
    schedule = replace(tiny.schedule, steps=60, learning_rate=0.03, evaluate_every=30)
    config = replace(tiny, model=replace(tiny.model, dropout=0.0), schedule=schedule, length=20)
    run = train(tmp_path / "run", config, load_corpus(str(path)), "run")
    losses = [row["loss"] for row in run.metrics() if "loss" in row]
    assert losses[0] > 0.9  # ln 3 is 1.10
    assert losses[-1] < 0.1
    assert float(run.best_model()[1]["score"]) < 0.1


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, folder = Trainer.take_step, tmp_path / "run"

    def poisoned(self: Trainer) -> Any:
        if self.step == 3:
            self.task.model.head.bias.data[0] = math.nan
        return take(self)

    monkeypatch.setattr(Trainer, "take_step", poisoned)
    with pytest.raises(FaultError, match=r"run: the loss is nan at step 4: .* the checkpoint of step 2 is kept"):
        train(folder, tiny, corpus, "run")
    assert all(p.isfinite().all() for p in load_run(folder)[0].parameters())
    monkeypatch.undo()
    assert [row["step"] for row in resume(folder, corpus, "run").metrics()] == [2, 2, 4, 4, 6, 6]


def test_a_learning_rate_beyond_all_bounds_is_told_with_the_step(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path
) -> None:
    config = replace(tiny, schedule=replace(tiny.schedule, learning_rate=1e30, warmup=0))
    with pytest.raises(FaultError, match=r"the \w.* is (nan|inf) at step 2: training stopped, nothing was saved yet"):
        train(tmp_path / "run", config, corpus, "run")


def test_a_full_disk_leaves_the_last_checkpoint(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", tiny, corpus, "whole")
    commit, sync = Run.commit, os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def failing(self: Run, state: Any) -> None:
        monkeypatch.setattr(os, "fsync", full if state["step"] == 4 else sync)
        commit(self, state)

    monkeypatch.setattr(Run, "commit", failing)
    with pytest.raises(FaultError, match="cannot be written: No space left on device"):
        train(tmp_path / "run", tiny, corpus, "run")
    monkeypatch.undo()
    assert load_trainer(tmp_path / "run" / "trainer.pt", [])["step"] == 2
    assert evaluate(load_run(tmp_path / "run")[0], corpus.validation).nats == whole.metrics()[1]["validation_loss"]
    resume(tmp_path / "run", corpus, "run")
    assert_equal(weights(tmp_path / "run"), weights(whole.folder))


def changed_text(folder: Path, corpus: Corpus, toy: Path) -> Corpus:
    toy.write_text(toy.read_text().replace("half", "HALF"))
    return load_corpus(str(toy))


def changed_settings(folder: Path, corpus: Corpus, toy: Path) -> Corpus:
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["batch_size"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    return corpus


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed_text,
            r"run: was trained on other data than .*toy\.txt has now: .*toy\.txt with the sha256 [0-9a-f]{12}… \(train ",
        ),
        (changed_settings, r"config\.json and trainer\.pt are not of the same run"),
    ],
)
def test_a_run_goes_on_with_its_own_text_and_settings_alone(
    change: Callable[..., Corpus], message: str, tiny: TextConfig, corpus: Corpus, toy: Path, tmp_path: Path
) -> None:
    run = train(tmp_path / "run", tiny, corpus, "run")
    other = change(run.folder, corpus, toy)
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(UsageError, match=message):
        resume(run.folder, other, "run")
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_what_cannot_be_trained_leaves_no_folder(tiny: TextConfig, corpus: Corpus, tmp_path: Path) -> None:
    huge = replace(tiny, model=replace(tiny.model, hidden_size=10_000_000))
    long = replace(tiny, length=10_000)
    for config, kind in ((huge, FaultError), (long, UsageError), (replace(tiny, device="meta"), UsageError)):
        with pytest.raises(kind, match=r"^[^\n]+$"):
            train(tmp_path / "run", config, corpus, "run")
        assert not (tmp_path / "run").exists()


def task_of_one_unit(reset_probability: float) -> CharacterTask:
    """A task of an LSTM with one unit, on a text of the letter a."""
    schedule = Schedule(steps=6, warmup=1)
    model = CharacterModelConfig("lstm", hidden_size=1, embedding_size=1)
    config = TextConfig(model=model, schedule=schedule, batch_size=2, length=4, reset_probability=reset_probability)
    ids = torch.zeros(200, dtype=torch.uint8)
    corpus = Corpus("a", ids, ids, ids, ("a", "b"), "character", "by hand", "0")
    return CharacterTask(CharacterModel(model, 2).eval(), config, corpus)


def set_unit(task: CharacterTask, growth: float, head: float, bias: float) -> None:
    """h = tanh(c), and c grows by `growth` a step; the logits of a and b are ±(head · h + bias)."""
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter.zero_()
        cell = task.model.network.cell(0)
        for name, value in (("i", 30.0), ("f", 30.0), ("g", math.atanh(growth)), ("o", 30.0)):
            cell.bias[cell.gate_names.index(name)] = value
        task.model.head.weight.copy_(torch.tensor([[head], [-head]]))
        task.model.head.bias.copy_(torch.tensor([bias, -bias]))


def test_a_validation_that_the_state_explains_is_explained() -> None:
    figures = {"validation_loss": 9.0}
    task = task_of_one_unit(0.0)
    set_unit(task, 0.0, 20.0, -10.0)  # wrong where h is 0, right after a state that was carried
    task.hidden = [tensor + 5 for tensor in task.hidden]
    assert task.warning(0.1, figures) == (
        "the validation of 9.00 nats is far above the training loss of 0.10: the same text scores 0.00 after a state that "
        "training carried, so the model does not work from the zero state, where validation and prompts start: give a "
        "--reset-probability above 0"
    )
    task.hidden = [tensor * 0 for tensor in task.hidden]
    assert task.warning(0.1, figures) == ""  # as bad after a carried state: the reason is another
    task = task_of_one_unit(1.0)
    set_unit(task, 0.1, -20.0, 10.0)  # right in the first steps, until h has grown
    assert task.warning(8.8, figures) == ""
    assert task.warning(0.1, figures) == (
        "the validation of 9.00 nats is far above the training loss of 0.10: the same text scores 0.00 in pieces of 4 "
        "symbols from the zero state, so the model does not work with a state carried for long: give a --reset-probability "
        "below 1, or a --length above 4"
    )


def test_the_warning_is_printed_once(
    tiny: TextConfig,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[float] = []

    def warning(self: CharacterTask, loss: float, figures: Any) -> str:
        asked.append(loss)
        return "beware" if len(asked) == 2 else ""

    monkeypatch.setattr(CharacterTask, "warning", warning)
    run = train(tmp_path / "run", tiny, corpus, "lm")
    assert asked == [row["loss"] for row in run.metrics() if "loss" in row][:2]
    assert [line for line in capsys.readouterr().err.splitlines() if "beware" in line] == ["lm  4/6  beware"]


def test_another_text_in_the_characters_of_a_run_takes_its_weights(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path
) -> None:
    """The new text has fewer characters; the model keeps its own, also where the run is resumed, evaluated and loaded."""
    first = train(tmp_path / "first", tiny, corpus, "first")
    (tmp_path / "fewer.txt").write_text("it is 12, so 3 is its half.\n" * 30)
    fewer = load_corpus(str(tmp_path / "fewer.txt"))
    assert set(fewer.alphabet) < set(corpus.alphabet)
    config = replace(tiny, corpus=fewer.name)
    origin = Origin.of(first.folder)
    with pytest.MonkeyPatch.context() as patch:
        stop_before(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "new", config, fewer, "new", origin=origin)
    resume(tmp_path / "new", fewer, "new")
    whole = train(tmp_path / "whole", config, fewer, "whole", origin=origin)
    assert_equal(weights(tmp_path / "new"), weights(whole.folder))
    model, _, symbols = load_run(tmp_path / "new")
    assert symbols.alphabet == corpus.alphabet
    read = TEXT.data_of(tmp_path / "new")
    assert (read.alphabet, read.decode(read.train)) == (corpus.alphabet, fewer.decode(fewer.train))
    assert evaluate(model, read.validation).nats == min(
        row["validation_loss"] for row in whole.metrics() if "validation_loss" in row
    )
    other = tmp_path / "other.txt"
    other.write_text("Zürich, Zürich, so it stands; and it stands so.\n" * 30)
    with pytest.raises(
        UsageError, match=r"other\.txt does not fit the model's alphabet: the text has characters that .* 'Z'"
    ):
        train(tmp_path / "no", replace(tiny, corpus=str(other)), load_corpus(str(other)), "no", origin=origin)
    assert not (tmp_path / "no").exists()
