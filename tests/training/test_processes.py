"""Two processes make the numbers of one, killed or stopped and resumed too; parts and bfloat16 agree with the plain run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hypernetworks.errors import UsageError
from hypernetworks.processes import check_parts, parts
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.runs.checkpoint import load_trainer
from hypernetworks.runs.run import Run
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.model import CharacterModel
from hypernetworks.text.task import CharacterTask
from hypernetworks.vision.experiment import VISION

from . import two_processes as two

train, resume, train_images = TEXT.train, TEXT.resume, VISION.train


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hypernetworks.experiments.experiment.draw_run", lambda run: None)


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def torchrun(job: str, folder: Path, *flags: str) -> str:
    """What two processes that do a job print, once both have ended well."""
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *flags]
    done = subprocess.run(
        [*program, two.__file__, job, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made in one group."""
    made = tmp_path_factory.mktemp("processes")
    two.toy(made)
    torchrun("in_one_group", made)
    return made


def figures(run: Path, *names: str) -> list[Any]:
    return [(row["step"], name, row[name]) for row in Run.open(run).metrics() for name in names if name in row]


def weights(run: Path) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in load_trainer(run / "trainer.pt", [])["model"].values()])


def assert_same_curve(one: Path, other: Path, tolerance: float) -> None:
    """Losses of all steps, validations and last weights are the same but for so much, relative."""
    for found, expected in zip(*(figures(run, "loss", "validation_loss") for run in (one, other)), strict=True):
        assert found == (*expected[:2], pytest.approx(expected[2], rel=tolerance))
    difference = weights(one) - weights(other)
    assert difference.norm() <= tolerance * weights(other).norm()


def assert_same_end(one: Path, other: Path) -> None:
    """All that was committed and measured is equal in every bit, but for times."""
    states = [load_trainer(run / "trainer.pt", []) for run in (one, other)]
    for state in states:
        del state["run"]  # it holds the metrics, which have times in them
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert figures(one, "loss", "validation_loss") == figures(other, "loss", "validation_loss")


def test_two_processes_make_the_curve_of_one_on_text(folder: Path, tmp_path: Path) -> None:
    corpus = two.toy(folder)
    with float64():
        train(tmp_path / "one", two.text_config(corpus), corpus, "one")
    assert len(figures(folder / "text", "loss")) == 50
    assert weights(folder / "text").dtype == torch.float64
    assert_same_curve(folder / "text", tmp_path / "one", 1e-10)
    two_read, one_read = (Run.open(run).config for run in (folder / "text", tmp_path / "one"))
    assert two_read["settings"] == one_read["settings"]
    assert (two_read["machine"]["processes"], one_read["machine"]["processes"]) == (2, 1)


def test_two_processes_make_the_curve_of_one_on_images(folder: Path, tmp_path: Path) -> None:
    with float64():
        train_images(tmp_path / "one", two.digits_config(), two.digits(), "one")
    assert_same_curve(folder / "digits", tmp_path / "one", 1e-10)


def results(folder: Path) -> list[Any]:
    return [json.loads((folder / f"results{rank}.json").read_text()) for rank in range(2)]


def test_images_are_scored_in_shares_to_the_same_bits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two.scoring, "CHUNK", 500)  # put back after the test
    assert [one["score"] for one in results(folder)] == [two.score()] * 2


def test_sigterm_to_one_process_stops_both_after_the_same_step(folder: Path) -> None:
    assert [one["terminated"] for one in results(folder)] == ["at once in both"] * 2
    assert load_trainer(folder / "terminated" / "trainer.before.pt", [])["step"] == 31
    assert_same_end(folder / "terminated", folder / "text")


def test_a_batch_that_cannot_be_shared_is_refused_before_a_run_is_made(folder: Path) -> None:
    message = "batch_size should be a multiple of 2 processes times accumulate 1, so that all parts are equal, got 5"
    assert [one["odd"] for one in results(folder)] == [message] * 2
    assert not (folder / "odd").exists()


def test_another_number_of_processes_is_refused(folder: Path) -> None:
    message = "text: was trained by 2 processes, so it is resumed with 2 processes, got 1 process"
    with float64(), pytest.raises(UsageError, match=message):
        resume(folder / "text", two.toy(folder), "alone")


def test_a_killed_process_is_started_again_and_ends_at_the_same_numbers(tmp_path: Path) -> None:
    two.toy(tmp_path)
    printed = torchrun("undisturbed", tmp_path)
    assert printed.count("best validation at step") == printed.count("temperature 0.8") == 1
    torchrun("killed", tmp_path, "--max-restarts=3")
    assert_same_end(tmp_path / "killed", tmp_path / "undisturbed")
    assert [step for step, *_ in figures(tmp_path / "killed", "validation_loss")] == [3, 6, 8]
    first, second = load_trainer(tmp_path / "killed" / "trainer.pt", [])["random"]["cpu"]
    assert not torch.equal(first, second)  # each drops other values


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return two.toy(tmp_path)


def changed(config: TextConfig, **changes: Any) -> TextConfig:
    return replace(config, schedule=replace(config.schedule, **changes))


def test_a_batch_worked_in_parts_makes_the_same_numbers(corpus: Corpus, tmp_path: Path) -> None:
    config = changed(two.text_config(corpus), steps=12)
    with float64():
        for accumulate in (1, 4):
            train(tmp_path / f"{accumulate}", changed(config, accumulate=accumulate), corpus, "parts")
    assert_same_curve(tmp_path / "4", tmp_path / "1", 1e-12)
    for hidden, expected in zip(
        *(load_trainer(tmp_path / name / "trainer.pt", [])["task"]["hidden"] for name in "41"), strict=True
    ):
        torch.testing.assert_close(hidden, expected, rtol=1e-12, atol=1e-12)


def test_bfloat16_stays_near_the_plain_run(corpus: Corpus, tmp_path: Path) -> None:
    """Its 8 bits round each factor of a product by up to 0.4 %; losses stay within 2 %, and what is kept is float32."""
    config = changed(two.text_config(corpus), learning_rate=0.003)
    for precision in ("float32", "bf16"):
        train(tmp_path / precision, changed(config, precision=precision), corpus, precision)
    plain, half = (figures(tmp_path / name, "loss", "validation_loss") for name in ("float32", "bf16"))
    assert half != plain
    assert [value for *_, value in half] == pytest.approx([value for *_, value in plain], rel=0.02)
    state = load_trainer(tmp_path / "bf16" / "trainer.pt", [])
    assert {tensor.dtype for tensor in [*state["model"].values(), *state["task"]["hidden"]]} == {torch.float32}


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_every_network_gives_every_parameter_a_gradient_in_bfloat16_too(network: Any, corpus: Corpus) -> None:
    """Processes wait for the gradient of every parameter: one without would stop them all."""
    config = two.text_config(corpus)
    config = replace(config, model=replace(config.model, network=network))
    task = CharacterTask(CharacterModel(config.model, len(corpus.alphabet)), config, corpus)
    for half in (False, True):
        task.model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss, _ = task.loss(0, slice(None))
        loss.backward()
        assert all(parameter.grad is not None for parameter in task.model.parameters())
        assert loss.dtype == torch.float32


def test_parts_are_equal_and_cover_the_batch() -> None:
    assert parts(12, 3) == [slice(0, 4), slice(4, 8), slice(8, 12)]
    check_parts(12, 3, 2)
    with pytest.raises(UsageError, match=r"a multiple of accumulate 5, so that all parts are equal, got 12$"):
        parts(12, 5)
    with pytest.raises(UsageError, match=r"a multiple of accumulate 3, .* got 4"):
        replace(TextConfig(batch_size=4), schedule=replace(TextConfig().schedule, accumulate=3))
