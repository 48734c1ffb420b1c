"""An ensemble is scored by the mean of its models' probabilities."""

from pathlib import Path

import pytest
import torch

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.text.evaluate import evaluate, evaluate_ensemble
from hypernetworks.text.model import CharacterModel, CharacterModelConfig
from hypernetworks.text.trained import TrainedText

from ..small_run import SETTINGS, TEXT
from ..small_run import trained as run  # noqa: F401  (a fixture)

Capture = pytest.CaptureFixture[str]

SYMBOLS = 9


def models(*networks: str) -> list[CharacterModel]:
    configs = [CharacterModelConfig(network, 8, embedding_size=5, hyper_size=4) for network in networks]
    return [CharacterModel(config, SYMBOLS).double().eval() for config in configs]


def test_the_score_is_that_of_the_mean_probability() -> None:
    """Over more than one chunk, with networks whose states differ."""
    several = models("lstm", "gru", "hyper-lstm")
    ids = torch.randint(SYMBOLS, (1500,))
    p = sum(model(ids[:-1].unsqueeze(1))[0].squeeze(1).softmax(-1) for model in several) / 3
    expected = -sum(p[t, int(ids[t + 1])].log().item() for t in range(1499)) / 1499
    found = evaluate_ensemble(several, ids)
    assert found.characters == 1499
    assert found.nats == pytest.approx(expected, rel=1e-12)


def test_it_is_at_most_the_mean_of_the_scores() -> None:
    """−ln is convex: the loss of the mean probability is at most the mean loss, and equal for equal models."""
    several = models("lstm", "lstm", "rhn")
    ids = torch.randint(SYMBOLS, (400,))
    alone = [evaluate(model, ids).nats for model in several]
    assert evaluate_ensemble(several, ids).nats < sum(alone) / 3
    assert evaluate_ensemble(several[:1] * 4, ids).nats == pytest.approx(alone[0], rel=1e-14)


def test_a_text_of_one_symbol_has_no_score() -> None:
    with pytest.raises(UsageError, match="at least 2 symbols, got 1"):
        evaluate_ensemble(models("lstm"), torch.zeros(1))


@pytest.fixture(scope="module")
def other(run: Path) -> Path:  # noqa: F811
    """A run of another network and seed on the same text."""
    folder = run.parent / "other"
    given = ["--corpus", str(run.parent / "toy.txt"), "--out", str(folder), "--network=gru", "--seed=5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPERNETWORKS_BACKEND", "reference")
        assert cli.main(["text", "train", *SETTINGS, *given]) == 0
    return folder


def test_the_command_scores_several_runs_as_one(run: Path, other: Path, capsys: Capture) -> None:  # noqa: F811
    first, second = hn.load(run), hn.load(other)
    assert isinstance(first, TrainedText)
    assert isinstance(second, TrainedText)
    ids = torch.tensor([first.alphabet.index(c) for c in TEXT[:300]])
    expected = evaluate_ensemble([first.model, second.model], ids)
    count = sum(p.numel() for lm in (first, second) for p in lm.model.parameters())
    text = run.parent / "toy.txt"
    assert (
        cli.main(["text", "evaluate", str(run), "--ensemble", str(other), "--text", str(text), "--characters=300"]) == 0
    )
    out = capsys.readouterr().out
    assert out.startswith(
        f"{run} + {other} on {text}, whole text: 299 characters predicted, one stream, an ensemble of 2 models, "
        f"{count:,} parameters in all\n{expected.nats:.4f} nats, "
    )


@pytest.mark.parametrize("flags", [["--dynamic"], ["--protocol=windows"], ["--weights=int8"], ["--freeze-scales"]])
def test_ways_that_an_ensemble_is_not_scored_in_are_refused(
    run: Path,  # noqa: F811
    capsys: Capture,
    flags: list[str],
) -> None:
    assert cli.main(["text", "evaluate", str(run), "--ensemble", str(run), *flags]) == 2
    assert "--ensemble takes none of --protocol windows, --dynamic, --weights and" in capsys.readouterr().err


def test_models_of_other_symbols_are_refused(run: Path, capsys: Capture) -> None:  # noqa: F811
    """Or of the same number of symbols, in bytes: their probabilities are not of the same events."""
    folder = run.parent / "bytes"
    given = ["--corpus", str(run.parent / "toy.txt"), "--out", str(folder), "--unit=byte"]
    assert cli.main(["text", "train", *SETTINGS, *given]) == 0
    capsys.readouterr()
    assert cli.main(["text", "evaluate", str(run), "--ensemble", str(folder)]) == 2
    error = capsys.readouterr().err
    assert f"an ensemble requires models of the same symbols: {folder} has 256 byte symbols, {run} has" in error
    assert cli.main(["text", "evaluate", str(run), "--ensemble", str(run / "none")]) == 2
    assert f"{run / 'none'}" in capsys.readouterr().err
