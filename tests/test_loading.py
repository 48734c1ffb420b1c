"""hn.load: a text run with its alphabet and settings, or a HyperNetwork. Other folders are one clear error."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.text import load_run
from hypernetworks.text.trained import TrainedText

from .small_run import TEXT, trained  # noqa: F401  (a fixture)


@pytest.fixture
def run(trained: Path) -> Path:  # noqa: F811
    return trained


def test_a_run_is_a_model_with_its_alphabet_and_settings(run: Path) -> None:
    lm = hn.load(str(run))
    model, settings, symbols = load_run(str(run))
    assert isinstance(lm, TrainedText)
    assert lm.settings == settings
    assert lm.alphabet == symbols.alphabet == tuple(sorted(set(TEXT)))
    assert lm.unit == "character"
    assert not lm.model.training
    for name, weight in model.state_dict().items():
        assert torch.equal(lm.model.state_dict()[name], weight)
    assert repr(lm).startswith(f"TrainedText(lstm, {sum(p.numel() for p in model.parameters())} parameters, ")


def test_it_generates_what_the_command_generates(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lm = hn.load(run)
    assert isinstance(lm, TrainedText)
    flags = ["--length", "30", "--temperature", "0.5", "--top-k", "4", "--top-p", "0.9", "--seed", "3"]
    assert cli.main(["text", "generate", str(run), "--prompt", "1 is ", *flags, "--device", "cpu"]) == 0
    text = lm.generate("1 is ", 30, temperature=0.5, top_k=4, top_p=0.9, seed=3)
    assert capsys.readouterr().out == f"1 is {text}\n"
    assert len(text) == 30
    assert len("".join(lm.stream("1 is "))) == 500


def test_it_scores_a_text_and_the_splits_of_its_own(run: Path) -> None:
    lm = hn.load(run)
    assert isinstance(lm, TrainedText)
    ids = torch.tensor([lm.alphabet.index(symbol) for symbol in "7 is 49"])
    with torch.no_grad():
        logits, _ = lm.model(ids[:-1].unsqueeze(1))
    nats = F.cross_entropy(logits.squeeze(1).double(), ids[1:]).item()
    score = lm.evaluate("7 is 49")
    assert score.characters == 6
    assert score.nats == pytest.approx(nats, rel=1e-6)
    train = TEXT[: len(TEXT) * 90 // 100]
    assert lm.evaluate(split="train") == lm.evaluate(train)
    assert lm.evaluate() == lm.evaluate(split="validation")
    assert lm.evaluate(split="train", characters=50) == lm.evaluate(train[:50])


def test_what_it_cannot_do_is_one_clear_error(run: Path) -> None:
    lm = hn.load(run)
    assert isinstance(lm, TrainedText)
    with pytest.raises(UsageError, match="the text has characters that the alphabet lacks: '§' at 2"):
        lm.generate("7 §")
    with pytest.raises(UsageError, match="temperature should be a finite number"):
        lm.generate(temperature=-1)
    with pytest.raises(UsageError, match="at least 2 symbols, got 1"):
        lm.evaluate("7")
    with pytest.raises(UsageError, match="give a text or a split, got both"):
        lm.evaluate("7 is 49", split="test")
    with pytest.raises(UsageError, match="split should be train, validation or test, got 'all'"):
        lm.evaluate(split="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="characters should be at least 0"):
        lm.evaluate(characters=-1)
    alone = TrainedText(lm.model, lm.settings, lm.symbols)
    with pytest.raises(UsageError, match="give a text"):
        alone.evaluate()
    assert alone.evaluate("7 is 49") == lm.evaluate("7 is 49")


def test_what_is_not_read_may_have_unknown_characters(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text(TEXT[:60] + "§")
    given = ["text", "evaluate", str(run), "--text", str(tmp_path / "text.txt"), "--device", "cpu"]
    assert cli.main([*given, "--characters", "50"]) == 0
    assert "49 characters predicted" in capsys.readouterr().out
    assert cli.main(given) == 2
    assert "the alphabet lacks: '§' at 60" in capsys.readouterr().err


def target() -> nn.Module:
    return nn.Linear(3, 2)


def test_a_hypernetwork_needs_its_target_and_a_run_needs_none(run: Path, tmp_path: Path) -> None:
    net = hn.HyperNetwork(target(), hn.FullGenerator(4))
    hn.save(net, tmp_path / "net")
    again = hn.load(tmp_path / "net", target())
    condition = torch.randn(4)
    assert torch.equal(again(torch.ones(1, 3), condition=condition), net(torch.ones(1, 3), condition=condition))
    with pytest.raises(TypeError, match=r"has a HyperNetwork: give a target that equals the saved one"):
        hn.load(tmp_path / "net")
    with pytest.raises(TypeError, match="is a run, which is loaded without a target"):
        hn.load(run, target())


def test_a_folder_that_holds_neither_says_what_it_is(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing: no such folder, expected a run, or a HyperNetwork"):
        hn.load(tmp_path / "missing")
    with pytest.raises(UsageError, match=r"config\.json: is a file, expected a run, or a HyperNetwork"):
        hn.load(run / "config.json")
    with pytest.raises(UsageError, match="should be the name of a folder, got an empty text"):
        hn.load("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: holds neither a run nor a HyperNetwork of hypernetworks\.save$"):
        hn.load(tmp_path / "empty")
    shutil.copytree(run, tmp_path / "several" / "lstm-seed0")
    with pytest.raises(
        UsageError, match=r"several: holds neither .*: name one of the folders in it, for example .*lstm-seed0"
    ):
        hn.load(tmp_path / "several")
    copy = tmp_path / "several" / "lstm-seed0"
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "experiment": "vision"}))
    with pytest.raises(
        UsageError, match=r"a run of hypernetworks vision: load it with hypernetworks\.vision\.load_run"
    ):
        hn.load(copy)
    (copy / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json: not valid JSON"):
        hn.load(copy)


def test_the_command_line_is_not_imported_before_a_run_is_loaded(run: Path) -> None:
    program = (
        "import sys, hypernetworks as hn; before = set(sys.modules); lm = hn.load(sys.argv[1]); "
        "assert 'hypernetworks.text.trained' not in before; print(type(lm).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "TrainedText\n"
