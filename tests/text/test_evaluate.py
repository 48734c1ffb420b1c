"""Scoring: the sum of −ln p over one stream, by hand."""

import math
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

from hypernetworks.errors import UsageError
from hypernetworks.recurrent import use_backend
from hypernetworks.recurrent.native.kernels import library
from hypernetworks.text.evaluate import TextScore, evaluate
from hypernetworks.text.model import CharacterModel, CharacterModelConfig
from hypernetworks.text.stepper import Weights

SYMBOLS = 9


def small(network: str = "hyper-lstm") -> CharacterModel:
    config = CharacterModelConfig(
        network, 8, embedding_size=5, hyper_size=4, hyper_embedding_size=2, dropout=0.5, recurrent_dropout=0.5
    )
    return CharacterModel(config, SYMBOLS)


class Bigrams(nn.Module):
    """p(next | last) from a table; it remembers how it was read."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.head = nn.Linear(1, 1)
        self.p = p
        self.read: list[Tensor] = []

    def forward(self, ids: Tensor, state: int | None) -> tuple[Tensor, int]:
        assert state == (len(torch.cat(self.read)) if self.read else None)
        assert not self.training
        assert not torch.is_grad_enabled()
        self.read.append(ids[:, 0])
        return self.p[ids].log(), (state or 0) + len(ids)


@pytest.mark.parametrize("network", ["lstm", "rhn", "hyper-lstm"])
def test_a_score_is_the_sum_over_one_long_pass(network: str) -> None:
    model = small(network).double()
    ids = torch.randint(SYMBOLS, (1500,), dtype=torch.uint8)
    score = evaluate(model, ids)
    log_p = model.eval()(ids[:-1].long().unsqueeze(1))[0].squeeze(1).log_softmax(-1)
    expected = -sum(log_p[t, int(ids[t + 1])].item() for t in range(1499)) / 1499
    assert score.characters == 1499
    assert score.nats == pytest.approx(expected, rel=1e-12)
    assert score.bpc == pytest.approx(expected / math.log(2), rel=1e-12)


@pytest.mark.parametrize("chunk", [1, 7, 299, 300, 301])
def test_a_score_does_not_depend_on_the_chunk(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small().double()
    ids = torch.randint(SYMBOLS, (301,))
    whole = evaluate(model, ids)
    monkeypatch.setattr(import_module("hypernetworks.text.evaluate"), "CHUNK", chunk)
    cut = evaluate(model, ids)
    assert cut.characters == whole.characters == 300
    assert cut.nats == pytest.approx(whole.nats, rel=1e-12)


def test_bigrams_score_their_conditional_entropy() -> None:
    """A text "0 0 1" over and over: 0 is followed by 0 and 1 equally often, 1 by 0 always."""
    p = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    score = evaluate(Bigrams(p), torch.tensor([0, 0, 1] * 1000 + [0]))
    assert score.characters == 3000
    assert score.nats == pytest.approx(math.log(2) * 2 / 3, rel=1e-12)
    assert score.bpc == pytest.approx(2 / 3, rel=1e-12)


def test_a_tenth_of_tiny_shakespeare_is_read_once_and_predicted_but_for_its_first_character() -> None:
    """1,115,394 characters, 90 % of them to train on: 111,540 are left, so 111,539 predictions."""
    ids = torch.arange(1_115_394)[1_115_394 * 9 // 10 :] % 2
    model = Bigrams(torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64))
    score = evaluate(model, ids)
    assert score.characters == 111_539
    assert torch.equal(torch.cat(model.read), ids[:-1])
    to_one = int((ids[:-1] == 0).sum())
    assert score.nats == pytest.approx((to_one * math.log(4) + (111_539 - to_one) * math.log(2)) / 111_539, rel=1e-12)


def test_the_training_mode_is_put_back() -> None:
    model = small()
    scores = []
    for training in (True, False, True):
        model.train(training)
        scores.append(evaluate(model, torch.arange(SYMBOLS)))
        assert {part.training for part in model.modules()} == {training}
    assert scores[0] == scores[1] == scores[2]  # no dropout in any of them


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_with_nothing_to_predict_is_refused(length: int) -> None:
    with pytest.raises(UsageError, match=f"scoring requires a text of at least 2 symbols, got {length}"):
        evaluate(small(), torch.zeros(length))
    assert evaluate(small(), torch.zeros(2)).characters == 1


def test_bits_are_nats_over_ln_2() -> None:
    assert TextScore(1, math.log(8)).bpc == pytest.approx(3)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_rounded_weights_lose_little(weights: Weights) -> None:
    if library() is None:
        pytest.skip("there are no native kernels here")
    model = small().train()
    ids = torch.randint(SYMBOLS, (400,))
    exact, rounded = evaluate(model, ids), evaluate(model, ids, weights)
    assert model.training
    assert rounded.characters == exact.characters
    assert 0 < abs(rounded.nats - exact.nats) < 0.01
    with use_backend("reference"), pytest.raises(UsageError, match=f"weights='{weights}' needs the native path"):
        evaluate(model, ids, weights)
