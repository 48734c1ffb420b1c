"""`text evaluate --freeze-scales`: the score of a copy, whatever network generates the scales."""

import math
from pathlib import Path

import pytest
import torch

from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.frozen import with_frozen_scales
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

Capture = pytest.CaptureFixture[str]


def test_the_mean_is_that_of_the_text_read_as_one_stream_if_it_is_short() -> None:
    model = CharacterModel(CharacterModelConfig(hidden_size=6, embedding_size=5, hyper_size=4), 8).double().eval()
    ids = torch.randint(8, (90,))
    state, seen = None, []
    for id in ids:
        _, state = model.network(model.embedding(id.view(1, 1)), state)
        seen.append(state.hyper_h[0, 0].detach())
    z = model.network.cell(0).hyper.P @ torch.stack(seen).mean(0)
    expected = model.network.cell(0).hyper.p + z[:8]
    made = with_frozen_scales(model, ids)
    torch.testing.assert_close(made.network.cell(0).hyper.p, expected)
    assert model.network.cell(0).hyper.P.abs().max() > 0  # the model itself keeps its scales


def test_a_model_without_scales_and_an_empty_text_are_refused() -> None:
    with pytest.raises(UsageError, match="gru generates no weights: there are no scales to freeze"):
        with_frozen_scales(CharacterModel(CharacterModelConfig("gru", 4), 8), torch.zeros(9))
    with pytest.raises(UsageError, match="requires a text, got none"):
        with_frozen_scales(CharacterModel(CharacterModelConfig(hidden_size=4), 8), torch.zeros(0))


def test_the_command_scores_what_is_frozen_at_the_mean_over_the_training_text(
    tiny: TextConfig, corpus: Corpus, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TEXT.train(tmp_path / "run", tiny, corpus, "tiny")
    given = []

    def without_knowledge(model: CharacterModel, ids: torch.Tensor) -> CharacterModel:
        given.append(ids)
        torch.nn.init.zeros_(model.head.weight)
        torch.nn.init.zeros_(model.head.bias)
        return model

    monkeypatch.setattr("hypernetworks.text.commands.with_frozen_scales", without_knowledge)
    capsys.readouterr()
    assert cli.main(["text", "evaluate", str(run.folder), "--freeze-scales", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "validation, scales frozen at their mean over the training text: " in printed
    assert f"{math.log(len(corpus.alphabet)):.4f} nats" in printed
    assert torch.equal(given[0], corpus.train)
