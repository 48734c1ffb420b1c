"""Dynamic evaluation against its equation written out, its limits, and texts that repeat; and scores of random windows."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import hypernetworks as hn
from hypernetworks import cli
from hypernetworks.errors import UsageError
from hypernetworks.text.config import TextConfig
from hypernetworks.text.corpus import Corpus
from hypernetworks.text.dynamic import Dynamics, evaluate_dynamically
from hypernetworks.text.evaluate import WINDOWS, evaluate, evaluate_windows
from hypernetworks.text.experiment import TEXT
from hypernetworks.text.model import CharacterModel, CharacterModelConfig

CONFIG = CharacterModelConfig("lstm", 6, embedding_size=4, dropout=0.5)


def model_of(network: str = "lstm") -> CharacterModel:
    torch.manual_seed(0)
    return CharacterModel(replace(CONFIG, network=network, hyper_size=3, hyper_embedding_size=2), 7).double()


def text(length: int) -> torch.Tensor:
    return torch.randint(7, (length,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("network", ["lstm", "hyper-lstm"])
def test_without_learning_it_is_the_score_of_the_fixed_model(network: str) -> None:
    model, ids = model_of(network), text(50)
    found = evaluate_dynamically(model, ids, text(40), Dynamics(rate=0, decay=0.5, length=7))
    assert found.characters == 49
    assert found.nats == pytest.approx(evaluate(model, ids).nats, rel=1e-9)


def test_it_is_the_equation() -> None:
    """In float64, with gradients of the whole model called anew for each segment."""
    model, ids, training = model_of(), text(24), text(33)
    rate, decay, T = 0.05, 0.3, 8
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with hn.use_backend("reference"):
        found = evaluate_dynamically(model, ids, training, Dynamics(rate, decay, T))
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert model.training
        model.eval()
        names = [name for name, _ in model.named_parameters()]

        def run(read: torch.Tensor, state: object) -> tuple[torch.Tensor, object, list[torch.Tensor]]:
            logits, state = model(read[:-1].unsqueeze(1), state)
            loss = F.cross_entropy(logits[:, 0], read[1:])
            model.zero_grad()
            loss.backward()
            return loss.detach(), state.detach(), [p.grad.clone() for p in model.parameters()]  # type: ignore[attr-defined,union-attr]

        state, squares = None, []
        for i in range(0, 32, T):
            _, state, grads = run(training[i : i + T + 1], state)
            squares.append([g**2 for g in grads])
        s = [torch.stack(same).mean(0).sqrt() for same in zip(*squares, strict=True)]
        mean = torch.cat([x.flatten() for x in s]).mean()
        state, total = None, 0.0
        for i in range(0, 23, T):
            read = ids[i : i + T + 1]
            loss, state, grads = run(read, state)
            total += loss.item() * (len(read) - 1)
            for p, name, g, x in zip(model.parameters(), names, grads, s, strict=True):
                back = torch.minimum(torch.ones_like(x), decay * x / mean)
                p.data = p.data - rate * g / (x + 1e-3 * mean) + back * (before[name] - p.data)
    assert found.nats == pytest.approx(total / 23, rel=1e-9)


def test_a_text_that_repeats_is_learned() -> None:
    model, ids = model_of(), text(30).repeat(12)
    found = evaluate_dynamically(model, ids, text(200), Dynamics(rate=0.05, decay=0, length=30))
    assert found.nats < evaluate(model, ids).nats - 0.2


@pytest.mark.parametrize("changes", [{"rate": -1.0}, {"decay": math.nan}, {"length": 0}])
def test_dynamics_that_cannot_be(changes: dict) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(changes))} should be"):
        Dynamics(**changes)


def test_windows_of_all_but_one_character_are_the_whole_text() -> None:
    """A text of N characters has one window of N − 1 predictions."""
    model, ids = model_of("hyper-lstm"), text(40)
    found = evaluate_windows(model, ids, 39)
    assert found.windows == WINDOWS
    assert found.nats == pytest.approx(evaluate(model, ids).nats, rel=1e-9)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_windows_are_scored_from_the_zero_state_at_random_places() -> None:
    """The mean over all places of the text, within four standard errors; with one prediction the state is always zero."""
    model, ids = model_of(), text(60)
    model.eval()
    for length in (1, 20):
        every = [evaluate(model, ids[start : start + length + 1]).nats for start in range(60 - length)]
        found = evaluate_windows(model, ids, length)
        assert abs(found.nats - sum(every) / len(every)) < 4 * found.error
        assert found == evaluate_windows(model, ids, length)
        assert found != evaluate_windows(model, ids, length, seed=1)
    for length in (0, 60):
        with pytest.raises(UsageError, match=rf"window should be from 1 to 59 .*, got {length}"):
            evaluate_windows(model, ids, length)


def test_the_command(tiny: TextConfig, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    TEXT.train(run, replace(tiny, schedule=replace(tiny.schedule, steps=2)), corpus, "run")
    capsys.readouterr()
    assert cli.main(["text", "evaluate", str(run), "--protocol", "windows", "--window", "20"]) == 0
    assert "1,024 random windows of 20 characters, each from the zero state\n" in capsys.readouterr().out
    assert cli.main(["text", "evaluate", str(run), "--dynamic", "--dynamics.rate", "0"]) == 0
    dynamic = capsys.readouterr().out
    assert "one stream, dynamic evaluation (Dynamics(rate=0.0, decay=0.002, length=32))" in dynamic
    assert cli.main(["text", "evaluate", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == dynamic.splitlines()[1]
    assert cli.main(["text", "evaluate", str(run), "--dynamic", "--protocol", "windows"]) == 2
    assert "one of --protocol windows, --dynamic and --weights, got several" in capsys.readouterr().err
