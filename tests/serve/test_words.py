"""A model of words on the server: its symbols are sent whole, and the page shows, moves through and counts them so."""

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from hypernetworks.text.coloured import coloured_text
from hypernetworks.text.config import Symbols
from hypernetworks.text.evaluate import evaluate
from hypernetworks.text.generate import Sampling, generate, prompt_ids

from .clients import events, make_batch, serving

LONG = "extraordinarily" * 3
WORDS = Symbols(tuple(sorted({*"\n ,abcdef", "bad", "cafe", "fade", LONG})), "word")
PROMPT = "bad cafe, fed"
CUT = ["bad", " ", "cafe", ",", " ", "f", "e", "d"]


@pytest.fixture(scope="module")
def batch() -> Any:
    return make_batch("hyper-lstm", symbols=WORDS)


@pytest.fixture(scope="module")
def address(batch: Any) -> Iterator[str]:
    with serving(batch) as address:
        yield address


def ask(address: str, path: str = "generate", **request: Any) -> dict[str, list[dict[str, Any]]]:
    """The data of the events by their names."""
    answer = httpx.post(f"{address}/api/{path}", json=request, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, list[dict[str, Any]]] = {}
    for name, data in events(answer.text.splitlines()):
        found.setdefault(name, []).append(data)
    return found


def test_the_symbols_are_sent_whole_with_one_change_each(batch: Any, address: str) -> None:
    (described,) = httpx.get(f"{address}/api/runs").json()["runs"]
    assert (described["unit"], described["alphabet"]) == ("word", "\n ,abcdef")
    found = ask(address, prompt=PROMPT, length=40, seed=2, details=True)
    (prompt,) = found["prompt"]
    assert (prompt["symbols"], prompt["text"]) == (CUT, PROMPT)
    pieces = list(generate(batch.model, WORDS.alphabet, "word", PROMPT, Sampling(40, seed=2)))
    assert any(len(piece) > 1 for piece in pieces)
    written = [symbol for data in found["text"] for symbol in data["symbols"]]
    assert written == pieces
    ids = prompt_ids(PROMPT, WORDS.alphabet, "word")
    ids = torch.cat([ids, torch.tensor([WORDS.alphabet.index(piece) for piece in pieces])])
    changes = [change for data in (prompt, *found["text"]) for change in data["changes"]]
    for change, letter in zip(changes, coloured_text(batch.model, WORDS, ids), strict=True):
        assert (change or []) == pytest.approx(letter.changes, rel=2e-3)
    steps = [step for data in (prompt, *found["text"]) for step in data["steps"]]
    assert len(steps) == len(ids)
    costs = [-math.log(step["probability"]) for step in steps[1:]]
    assert sum(costs) / len(costs) == pytest.approx(evaluate(batch.model, ids).nats, rel=1e-3)


def test_an_unknown_character_of_a_prompt_is_named(address: str) -> None:
    answer = httpx.post(f"{address}/api/generate", json={"prompt": "bad §"})
    assert answer.status_code == 422
    assert "the text has characters that the alphabet lacks: '§' at 4" in answer.json()["detail"]


def test_the_page_shows_words(chromium: Any, batch: Any, address: str, tmp_path: Path) -> None:
    from .browsing import expect, fill, opened, write

    page = opened(chromium, address)
    write(page, Prompt=PROMPT, Length=60, Seed=2)
    pieces = list(generate(batch.model, WORDS.alphabet, "word", PROMPT, Sampling(60, seed=2)))
    spans = page.locator(".text").first.locator("span")
    assert [text.replace("↵", "\n") for text in spans.all_text_contents()] == CUT + pieces
    assert page.locator(".text .prompt").all_text_contents() == CUT
    characters = len("".join(pieces))
    expect(page.locator(".status").first).to_have_text(re.compile(rf"Finished: {characters} characters in "))
    text, numbers = page.locator(".text").first, page.locator(".change").first
    for _ in range(3):
        text.press("ArrowRight")
    expect(numbers).to_have_text(re.compile("^3: Read space, expecting cafe — weights changed: "))
    diagram = page.get_by_role("group", name="The step of the current character")
    expect(diagram.locator(".wrote")).to_have_text("cafe")
    expect(diagram.locator(".likely .chosen .name")).to_have_text("cafe")
    # what is typed is cut, too, and costs as much for each character as the model says
    assert page.locator("#read-prompt span").all_text_contents() == CUT
    score = evaluate(batch.model, prompt_ids(PROMPT, WORDS.alphabet, "word"))
    bits = score.nats * (len(CUT) - 1) / (len(PROMPT) - 3) / math.log(2)
    shown = page.locator("#reading").text_content()
    assert float(re.search(r"run (\d+\.\d+)", shown)[1]) == pytest.approx(bits, abs=0.006)
    page.get_by_label("Prompt").press("End")
    page.get_by_label("Prompt").press("ArrowLeft")
    expect(diagram.locator(".wrote")).to_have_text("e")
    fill(page, Prompt="bad cafes")
    expect(page.locator("#reading")).to_contain_text("without 's' (character 9)")
    cells = page.locator(".kinds tr").nth(1).locator("td").all_text_contents()
    assert cells[:2] == ["word", str(sum(len(piece) > 1 for piece in pieces))]
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(), newline="")))
    assert [row["character"] for row in rows] == CUT + pieces
    assert [row["code_point"] for row in rows][:2] == ["98 97 100", "32"]
    # a long word is wrapped
    place = len(CUT) + pieces.index(LONG)
    text.locator("span").nth(place + 1).hover()
    expect(diagram.locator(".read")).to_have_text(LONG)
    for box in ("body", ".read", ".text"):
        assert page.locator(box).first.evaluate("box => box.scrollWidth <= box.clientWidth"), box
    assert page.errors == []
    page.close()
