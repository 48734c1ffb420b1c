"""The engine: batched texts equal those of `text generate`, share each step, can be cancelled, and queue up to a limit."""

import time
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from hypernetworks.analysis import scales_of, weight_change, weight_norm
from hypernetworks.errors import UsageError
from hypernetworks.recurrent.families import FAMILIES
from hypernetworks.recurrent.native.kernels import library
from hypernetworks.recurrent.sequence import FEW_ROWS
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.engine import Engine, FullError
from hypernetworks.serve.frozen import with_frozen
from hypernetworks.serve.job import ActiveText
from hypernetworks.text.coloured import letters, weight_changes
from hypernetworks.text.config import Symbols
from hypernetworks.text.generate import Sampling, generate

from .clients import Client, make_batch, running


def generated(batch: Batch, prompt: str, **settings: Any) -> str:
    return "".join(generate(batch.model, batch.symbols.alphabet, batch.symbols.unit, prompt, Sampling(**settings)))


@pytest.mark.parametrize("network", tuple(FAMILIES))
def test_a_text_alone_is_that_of_text_generate(network: str) -> None:
    batch = make_batch(network, layers=2)
    for prompt, settings in (("ab", {"seed": 3, "length": 40}), ("", {"top_k": 3, "temperature": 1.5, "length": 1})):
        with running(batch) as engine:
            client = Client(prompt=prompt, **settings)
            engine.submit(client.job)
            assert client.wait().text == generated(batch, prompt, **settings)
            assert client.reason == "length"


def test_a_model_of_bytes_gives_whole_characters() -> None:
    batch = make_batch(symbols=Symbols(tuple(sorted({chr(byte) for byte in "né…".encode()})), "byte"))
    with running(batch) as engine:
        client = Client(prompt="né", length=80, temperature=3.0)
        engine.submit(client.job)
        assert client.wait().text == generated(batch, "né", length=80, temperature=3.0)
        assert len(client.text) < 80


@pytest.mark.skipif(library() is None, reason="needs the native kernels")
@pytest.mark.parametrize("network", ["lstm", "layer-norm-lstm", "rhn", "hyper-lstm"])
def test_texts_side_by_side_are_to_the_letter_those_that_stand_alone(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than one step reads, starting and ending at different times; the logits have the same bits."""
    batch, seen = make_batch(network, layers=2), {}
    draw = ActiveText.draw

    def keep(row: Any, logits: torch.Tensor, changes: Sequence[float], inside: Any) -> None:
        seen.setdefault(row.job.sampling.seed, []).append(logits.clone())
        draw(row, logits, changes, inside)

    monkeypatch.setattr(ActiveText, "draw", keep)
    monkeypatch.setenv("HYPERNETWORKS_BACKEND", "native")
    clients = [Client(prompt="ab", length=5 + seed % 7, seed=seed, temperature=2.0) for seed in range(FEW_ROWS + 9)]
    for turn, client in enumerate(clients):
        batch.admit(client.job)
        if turn > FEW_ROWS - 5:
            batch.step()
    while batch.texts:
        batch.step()
    together, seen = seen, {}
    for client in clients:
        settings = client.job.sampling
        batch.admit(Client(prompt="ab", length=settings.length, seed=settings.seed, temperature=2.0).job)
        while batch.texts:
            batch.step()
        assert client.wait().text == generated(batch, "ab", length=settings.length, seed=settings.seed, temperature=2.0)
    assert seen.keys() == together.keys()
    assert all(torch.equal(torch.stack(seen[seed]), torch.stack(together[seed])) for seed in seen)


@pytest.mark.parametrize("network", ["lstm", "rhn", "hyper-lstm", "hyper-gru"])
def test_the_logits_of_a_row_are_those_of_its_text_alone(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts start and end at different times; each is compared with the model on the whole text."""
    batch, seen = make_batch(network), {}

    def keep(row: Any, logits: torch.Tensor, changes: Sequence[float], inside: Any) -> None:
        draw(row, logits, changes, inside)
        ids, all_logits = seen.setdefault(row, (list(batch.prompt(row.job.prompt).tolist()), []))
        ids.append(row.drawn)
        all_logits.append(logits.clone())

    draw = ActiveText.draw
    monkeypatch.setattr(ActiveText, "draw", keep)
    for turn in range(30):
        if turn % 3 == 0:
            batch.admit(Client(prompt="abcde"[: 1 + turn % 5], length=2 + turn, seed=turn, temperature=2.0).job)
        if batch.texts:
            batch.step()
        if turn == 20:
            batch.texts[1].job.stream.cancelled = True
            batch.drop_stopped()
    assert len(seen) == 10
    assert {len(logits) for _, logits in seen.values()} >= {2, 5, 8}
    for row, (ids, logits) in seen.items():
        with torch.no_grad():
            whole, _ = batch.model(torch.tensor(ids[:-1]).unsqueeze(1))
        first = len(batch.prompt(row.job.prompt)) - 1
        torch.testing.assert_close(torch.stack(logits), whole[first:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["hyper-lstm", "hyper-rnn", "hyper-rnn-full", "hyper-rhn"])
def test_changes_are_those_of_the_step_that_generated_the_character(network: str) -> None:
    """Equal to those that `analysis` computes from the states of the whole text, the prompt's included; its first has none."""
    batch = make_batch(network, layers=2)
    alone, other = Client(prompt="abc", length=6, seed=1), Client(length=9, seed=2)
    batch.admit(other.job)
    batch.admit(alone.job)
    while batch.texts:
        batch.step()
    read = [*(alone.wait().prompt or []), *alone.letters]
    assert "".join(letter.text for letter in read) == "abc" + alone.text
    assert len(alone.letters) == 6
    assert read[0].changes == ()
    cells = batch.model.network.cells
    with torch.no_grad():
        before = torch.zeros(len(cells), 4)
        for count in range(1, len(read)):
            ids = batch.prompt("".join(letter.text for letter in read[:count])).long()
            after = batch.model(ids.unsqueeze(1))[1].hyper_h[:, 0]
            old, new = (
                [scales_of(cell, h) for cell, h in zip(cells, hyper_h, strict=True)] for hyper_h in (before, after)
            )
            change = [weight_change(cell, *both) for cell, *both in zip(cells, old, new, strict=True)]
            norms = [
                torch.stack([weight_norm(cell, scales) for cell, scales in zip(cells, some, strict=True)]).norm(dim=0)
                for some in (old, new)
            ]
            expected = torch.stack(change).norm(dim=0) / torch.maximum(*norms)
            torch.testing.assert_close(torch.tensor(read[count].changes), expected, rtol=1e-3, atol=1e-5)
            before = after
    assert len(batch.change.gates) == len(read[1].changes)


def test_networks_of_fixed_weights_have_no_changes() -> None:
    batch, client = make_batch("lstm"), Client(length=5)
    with running(batch) as engine:
        engine.submit(client.job)
        assert {letter.changes for letter in client.wait().letters} == {()}
    assert batch.change.gates == ()


@pytest.mark.parametrize("network", ["lstm", "hyper-lstm"])
def test_a_warm_batch_has_read_a_prompt_and_taken_a_step_and_has_no_texts(network: str) -> None:
    batch, shapes = make_batch(network), []
    batch.model.embedding.register_forward_hook(lambda module, given, _: shapes.append(tuple(given[0].shape)))
    batch.warm_up()
    assert len(shapes) >= 2
    assert batch.texts == []
    client = Client(length=10, seed=3)
    batch.admit(client.job)
    while batch.texts:
        batch.step()
    assert client.wait().text == generated(batch, "ab", length=10, seed=3)


def test_a_run_with_frozen_weights_is_added_to_a_hyper_network_alone() -> None:
    assert list(with_frozen("plain", make_batch("lstm"))) == ["plain"]
    own, frozen = with_frozen("hyper", make_batch("hyper-gru")).items()
    assert (own[0], own[1].frozen_of) == ("hyper", None)
    assert (frozen[0], frozen[1].frozen_of) == ("hyper, frozen", "hyper")
    client = Client(length=20)
    frozen[1].admit(client.job)
    while frozen[1].texts:
        frozen[1].step()
    assert {letter.changes for letter in client.wait().letters} == {(0.0, 0.0, 0.0)}


def test_a_character_of_several_bytes_has_the_largest_change_of_its_bytes() -> None:
    symbols = Symbols(tuple(sorted({chr(byte) for byte in "né…".encode()})), "byte")
    batch = make_batch(symbols=symbols)
    client = Client(prompt="né", length=60, temperature=3.0)
    batch.admit(client.job)
    drawn = [batch.texts[0].drawn]
    while batch.texts:
        (text,) = batch.texts
        batch.step()
        drawn.append(text.drawn)
    prompt = batch.prompt("né")
    ids = torch.cat([prompt, torch.tensor(drawn)])
    expected = letters(ids, [(), *weight_changes(batch.model, ids[:-1]).tolist()], symbols)[2:]
    for ours, theirs in zip(client.wait().letters, expected, strict=True):
        assert ours.text == theirs.text
        assert ours.changes == pytest.approx(theirs.changes, rel=1e-3, abs=1e-5)
    assert any(len(letter.text.encode()) == 2 for letter in client.letters)


def test_texts_share_steps() -> None:
    """Text k of twenty starts in turn k, one prompt per turn, and takes part in 29 steps: 48 in all, not 580."""
    batch, shapes = make_batch(), []
    batch.model.embedding.register_forward_hook(lambda module, given, _: shapes.append(tuple(given[0].shape)))
    clients = [Client(prompt="abc", length=30, seed=seed) for seed in range(20)]
    engine = Engine({"run": batch}, 20, 0)
    for client in clients:
        engine.submit(client.job)
    engine.start()
    texts = [client.wait().text for client in clients]
    engine.stop()
    engine.join()
    assert all(len(text) == 30 for text in texts)
    assert len(set(texts)) > 10
    assert shapes.count((3, 1)) == 40  # for the text, and for the changes of the prompt
    assert [rows for length, rows in shapes if length == 1] == [*range(1, 20), *[20] * 10, *range(19, 0, -1)]


def test_two_runs_are_served_each_by_its_own_model() -> None:
    batches = make_batch("lstm"), make_batch("hyper-gru")
    clients = Client("run", length=30), Client("run2", length=30)
    with running(*batches) as engine:
        for client in clients:
            engine.submit(client.job)
        assert [client.wait().text for client in clients] == [generated(made, "ab", length=30) for made in batches]


def test_a_cancelled_text_leaves_within_a_step() -> None:
    batch = make_batch()
    client, other = Client(length=10**6), Client(length=10**6)
    with running(batch) as engine:
        for each in (client, other):
            engine.submit(each.job)
            each.wait(lambda client: len(client.letters) > 3)
        assert engine.active == 2
        client.job.stream.cancelled = True
        before = len(other.look().letters)
        other.wait(lambda client: len(client.letters) >= before + 2)
        assert engine.active == 1


def test_so_many_are_made_and_so_many_wait() -> None:
    batch = make_batch()
    made, waits, refused = [Client(length=10**6) for _ in range(2)], Client(length=5), Client()
    with running(batch, rows=2, queue=1) as engine:
        for client in made:
            engine.submit(client.job)
            client.wait(lambda client: bool(client.letters))
        engine.submit(waits.job)
        with pytest.raises(FullError, match="2 texts are being generated and 1 are queued: try again soon"):
            engine.submit(refused.job)
        assert not waits.look().letters
        made[0].job.stream.cancelled = True
        assert len(waits.wait().text) == 5


def test_a_cancelled_text_that_waits_makes_room() -> None:
    batch = make_batch()
    made, waits, next_one = Client(length=10**6), Client(length=5), Client(length=5)
    with running(batch, rows=1, queue=1) as engine:
        engine.submit(made.job)
        made.wait(lambda client: bool(client.letters))
        engine.submit(waits.job)
        waits.job.stream.cancelled = True
        engine.submit(next_one.job)
        assert engine.waiting == 1


def test_time_is_over_for_texts_made_and_waiting() -> None:
    deadline = time.monotonic() + 0.2  # of both, else the second begins when the first's is over
    clients = [Client(length=10**8, deadline=deadline) for _ in range(2)]
    with running(make_batch(), rows=1) as engine:
        for client in clients:
            engine.submit(client.job)
        assert [client.wait().reason for client in clients] == ["time-out", "time-out"]
        assert clients[0].letters
        assert not clients[1].letters
        assert (engine.active, engine.waiting) == (0, 0)


def test_stopping_ends_every_text() -> None:
    clients = [Client(length=10**8) for _ in range(3)]
    with running(make_batch(), rows=2) as engine:
        for client in clients:
            engine.submit(client.job)
        clients[0].wait(lambda client: bool(client.letters))
        assert engine.alive
        engine.stop()
        assert [client.wait().reason for client in clients] == ["shutdown"] * 3
        late = Client()
        engine.submit(late.job)
        assert late.wait().reason == "shutdown"
        assert not engine.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("characters", [1, 5])
def test_nobody_waits_for_a_model_that_fails(characters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a prompt is read, and while texts are generated."""
    batch, clients = make_batch(), [Client(length=10**8) for _ in range(3)]
    embed, calls = batch.model.embedding.forward, iter(range(characters - 1))

    def fail(*given: Any) -> Any:
        if next(calls, None) is None:
            raise RuntimeError("no room")
        return embed(*given)

    monkeypatch.setattr(batch.model.embedding, "forward", fail)
    engine = Engine({"run": batch}, 2, 8)
    for client in clients:
        engine.submit(client.job)
    engine.start()
    assert [client.wait().reason for client in clients] == ["failed"] * 3
    engine.join()
    assert not engine.alive


def test_unknown_characters_are_refused_at_once() -> None:
    with running(make_batch()) as engine, pytest.raises(UsageError, match="'x' at 1"):
        engine.submit(Client(prompt="axb").job)
