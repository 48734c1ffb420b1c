"""Details of the steps: those of a trace of the whole text, sent if they are asked for, and of no influence on the text."""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import hypernetworks as hn
from hypernetworks.recurrent.hyper import HyperRecurrentNetwork
from hypernetworks.serve.batch import Batch
from hypernetworks.serve.limits import Limits
from hypernetworks.text.config import Symbols
from hypernetworks.text.details import LIKELY, Details

from .clients import SYMBOLS, Client, events, make_batch, running, serving

FEW = 30
"""The limit of characters with details."""


def read_together(batch: Batch, *clients: Client) -> None:
    """Generate the texts of clients that ask for details, and one that does not."""
    batch.admit(Client(length=9, seed=2).job)
    for client in clients:
        batch.admit(client.job)
    while batch.texts:
        batch.step()


@pytest.mark.parametrize("network", ["hyper-lstm", "hyper-gru", "hyper-rnn-full", "hyper-rhn", "lstm"])
@pytest.mark.parametrize("layers", [1, 2])
def test_details_are_those_of_the_step_that_generated_the_character(network: str, layers: int) -> None:
    """The probabilities are the model's on the whole text, gates and scales those of a trace; the first character has none."""
    batch = make_batch(network, layers=layers)
    client, other = (Client(prompt=prompt, length=6, seed=seed, details=9) for prompt, seed in (("abc", 1), ("b", 3)))
    read_together(batch, client, other)
    read = [*(client.wait().prompt or []), *client.letters]
    ids = batch.prompt("".join(letter.text for letter in read)).long()
    assert read[0].details is None
    with torch.no_grad():
        p = batch.model(ids.unsqueeze(1))[0][:, 0].double().softmax(-1)
    layer = None
    if isinstance(batch.model.network, HyperRecurrentNetwork):
        layer = hn.trace(batch.model.network, batch.model.embedding(ids.unsqueeze(1))).layers[-1]
    for t, letter in enumerate(read[1:]):
        details: Any = letter.details
        assert details.probability == pytest.approx(float(p[t, ids[t + 1]]), rel=1e-3)
        expected = sorted(zip(p[t].tolist(), SYMBOLS.alphabet, strict=True), reverse=True)[:LIKELY]
        assert [symbol for symbol, _ in details.likely] == [symbol for _, symbol in expected]
        assert [each for _, each in details.likely] == pytest.approx([each for each, _ in expected], rel=1e-3)
        if layer is None:
            assert details.inside == ((), None)
            continue
        torch.testing.assert_close(torch.tensor(details.inside.gates), layer.gates[t, 0].mean(-1), rtol=1e-3, atol=1e-5)
        if layer.d_h is None:
            assert details.inside.scales is None
        else:
            torch.testing.assert_close(details.inside.scales.float(), layer.d_h[t, 0], rtol=2e-3, atol=1e-4)


def test_details_end_at_their_limit_and_change_no_character() -> None:
    batch = make_batch()
    plain, asking = Client(length=20, seed=4, temperature=2.0), Client(length=20, seed=4, temperature=2.0, details=7)
    for client in (plain, asking):
        read_together(batch, client)
    assert asking.wait().text == plain.wait().text
    assert [letter.details is not None for letter in asking.letters] == [True] * 7 + [False] * 13
    assert not any(letter.details for letter in plain.letters)
    assert [letter.changes for letter in asking.letters] == [letter.changes for letter in plain.letters]


def test_a_character_of_several_bytes_has_the_details_of_its_last() -> None:
    batch = make_batch(symbols=Symbols(tuple(sorted({chr(byte) for byte in "né…".encode()})), "byte"))
    client = Client(prompt="né", length=40, temperature=3.0, details=40)
    batch.admit(client.job)
    while batch.texts:
        batch.step()
    _, second = client.wait().prompt or []
    ids = torch.tensor([batch.symbols.alphabet.index(chr(byte)) for byte in "né".encode()])
    with torch.no_grad():
        p = batch.model(ids.unsqueeze(1))[0][1, 0].softmax(-1)
    assert isinstance(second.details, Details)
    assert second.details.probability == pytest.approx(float(p[ids[2]]), rel=1e-3)
    assert {symbol for symbol, _ in second.details.likely} == {"n", "\\xc3", "\\xa9", "\\xe2", "\\x80", "\\xa6"}
    assert all(letter.details for letter in client.letters)


def test_a_text_that_is_only_read_has_its_letters_and_an_end() -> None:
    with running(make_batch()) as engine:
        client = Client(prompt="abc")
        client.job.sampling = None
        engine.submit(client.job)
        assert client.wait().reason == "length"
        assert (client.text, "".join(letter.text for letter in client.prompt or [])) == ("", "abc")
    assert (engine.active, engine.waiting) == (0, 0)


def test_nobody_waits_for_a_model_that_fails_while_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, client = make_batch(), Client(prompt="abc")
    client.job.sampling = None

    def fail(*_: Any) -> Any:
        raise RuntimeError("no room")

    monkeypatch.setattr(batch.model, "forward", fail)
    with pytest.raises(RuntimeError, match="no room"):
        batch.admit(client.job)
    assert batch.active == 1
    batch.end("failed")
    assert (client.wait().reason, batch.active) == ("failed", 0)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    batches = make_batch("hyper-lstm", hidden=8), make_batch("lstm")
    with serving(*batches, limits=Limits(max_prompt=50, max_details=FEW)) as address:
        yield address


def ask(address: str, path: str, **request: Any) -> list[tuple[str, Any]]:
    answer = httpx.post(f"{address}/api/{path}", json=request, timeout=60)
    assert answer.status_code == 200, answer.text
    return list(events(answer.text.splitlines()))


def steps_of(stream: list[tuple[str, Any]]) -> list[Any]:
    """The step of each character, None where it has none."""
    found = []
    for name, data in stream:
        if name != "end":
            found += data.get("steps") or [None] * len(data["text"])
    return found


def test_a_stream_has_the_steps_if_they_are_asked_for(address: str) -> None:
    plain = ask(address, "generate", prompt="ab", length=50, seed=3)
    asking = ask(address, "generate", prompt="ab", length=50, seed=3, details=True)
    assert all("steps" not in data for _, data in plain)
    assert "".join(data["text"] for name, data in plain if name == "text") == "".join(
        data["text"] for name, data in asking if name == "text"
    )
    steps = steps_of(asking)
    assert [step is not None for step in steps] == [False, True] + [True] * FEW + [False] * (50 - FEW)
    for step in filter(None, steps):
        assert np.frombuffer(b64decode(step["scales"]), "<f2").shape == (4 * 8,)
        assert len(step["gates"]) == 4
        assert len(step["likely"]) == LIKELY
        assert 0 <= step["probability"] <= step["likely"][0][1] <= 1


def test_the_size_of_a_response_is_bounded(address: str) -> None:
    """A character takes 8/3 bytes for each of its scales, and a few hundred for the rest."""
    request = {"prompt": "a" * 50, "length": 500, "details": True}
    answer = httpx.post(f"{address}/api/generate", json=request, timeout=60)
    assert len(answer.content) < (50 + FEW) * (8 / 3 * 4 * 8 + 500) + 600 * 60


def test_a_text_is_read(address: str) -> None:
    """With the changes and steps that it has as a prompt."""
    read = ask(address, "read", prompt="abca", details=True)
    assert [name for name, _ in read] == ["prompt", "end"]
    assert read[-1] == ("end", {"reason": "length"})
    written = ask(address, "generate", prompt="abca", length=1, details=True)
    assert read[0] == written[0]
    plain = ask(address, "read", run="run2", prompt="abca")
    assert plain[0] == ("prompt", {"text": "abca", "changes": [None] * 4})
    (_, with_steps), _ = ask(address, "read", run="run2", prompt="abca", details=True)
    assert [step["gates"] for step in with_steps["steps"][1:]] == [[]] * 3
    assert [step["scales"] for step in with_steps["steps"][1:]] == [None] * 3


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({"prompt": "axb"}, 422, "'x' at 1"),
        ({"prompt": "a" * 51}, 422, "prompt: string should have at most 50 characters"),
        ({"prompt": ""}, 422, "prompt: string should have at least 1 character"),
        ({}, 422, "prompt: field required"),
        ({"prompt": "a", "details": "yes"}, 422, "details: input should be a valid boolean"),
        ({"prompt": "a", "length": 3}, 422, "length: extra inputs are not permitted"),
        ({"prompt": "a", "run": "none"}, 422, "run: input should be 'run' or 'run2'"),
    ],
)
def test_reading_has_the_bounds_of_a_prompt(address: str, request_: Any, status: int, sentence: str) -> None:
    answer = httpx.post(f"{address}/api/read", json=request_)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]


def test_reading_is_queued_and_refused_like_writing() -> None:
    with serving(make_batch(), token="s3cret", limits=Limits(max_length=10**8, rows=1, queue=0)) as address:
        token = {"Authorization": "Bearer s3cret"}
        assert httpx.post(f"{address}/api/read", json={"prompt": "a"}).status_code == 401
        other = httpx.post(f"{address}/api/read", json={"prompt": "a"}, headers={**token, "Origin": "http://x.example"})
        assert other.status_code == 403
        with httpx.stream("POST", f"{address}/api/generate", json={"length": 10**8}, headers=token, timeout=60) as busy:
            pieces = busy.iter_bytes()
            next(pieces)
            answer = httpx.post(f"{address}/api/read", json={"prompt": "a"}, headers=token)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
