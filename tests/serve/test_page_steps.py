"""The numbers of one step in the page's diagram, and the strips of the user's own text while it is typed, in Chromium."""

import re
from typing import Any

import pytest
import torch

import hypernetworks as hn
from hypernetworks.serve.limits import Limits
from hypernetworks.text.alphabet import encode
from hypernetworks.text.coloured import coloured_text
from hypernetworks.text.config import Symbols

from .browsing import CHANGES, changes, expect, fill, opened, shown, write
from .clients import SYMBOLS, make_batch, serving

NAMES = {"\n": "end of line", " ": "space"}


def percents(page: Any, selector: str) -> list[float]:
    return [float(each.removesuffix(" %")) / 100 for each in page.locator(selector).all_text_contents()]


def traced(batch: Any, text: str) -> tuple[torch.Tensor, Any]:
    """The probabilities after each character of a text, and the trace of the steps that read it."""
    ids = encode(text, SYMBOLS.alphabet).long().unsqueeze(1)
    with torch.no_grad():
        return batch.model(ids)[0][:, 0].softmax(-1), hn.trace(batch.model.network, batch.model.embedding(ids)).layers[
            -1
        ]


def test_the_diagram_has_the_numbers_of_the_step(page: Any, batches: tuple[Any, Any]) -> None:
    """Probabilities, the written character among them, the gates' means, and the scales of the rows, as a trace has them."""
    write(page, Prompt="ab", Length=40, Temperature=3)
    text = "ab" + shown(page, 0)
    p, layer = traced(batches[0], text)
    for k in (1, 9, 30):
        page.locator(".text").first.locator("span").nth(k).hover()
        expect(page.locator(".wrote")).to_have_text(NAMES.get(text[k], text[k]))
        likely = p[k - 1].sort(descending=True)
        expected = [(SYMBOLS.alphabet[id], float(each)) for each, id in zip(*likely, strict=True)]
        listed = expected[:6] + [each for each in expected[6:] if each[0] == text[k]]
        names = page.locator(".likely > div:not([hidden]) .name").all_text_contents()
        assert names == [NAMES.get(name, name) for name, _ in listed]
        expect(page.locator(".likely .chosen .name")).to_have_text(NAMES.get(text[k], text[k]))
        assert percents(page, ".likely > div:not([hidden]) .number") == pytest.approx(
            [each for _, each in listed], rel=0.06
        )
        means = [float(each) for each in page.locator(".means .number").all_text_contents()]
        assert means == pytest.approx(layer.gates[k - 1, 0].mean(-1).tolist(), abs=0.006)
        d_h = layer.d_h[k - 1, 0]
        for gate, name in enumerate(("input gate i", "forget gate f", "candidate g", "output gate o")):
            strip = page.locator(".rows canvas").nth(gate)
            least, most = (float(each) for each in re.findall(r"-?\d\S*", strip.get_attribute("aria-label")))
            assert strip.get_attribute("aria-label").startswith(f"Scales of the rows, {name}: from ")
            assert (least, most) == pytest.approx((float(d_h[gate].min()), float(d_h[gate].max())), rel=0.06)
    expect(page.locator(".columns")).to_have_text("one column for each row of Wh, H = 8")


PIXELS = """x => [...x.getContext("2d").getImageData(0, 0, x.width, 1).data]"""


def test_the_columns_of_a_strip_are_the_rows(chromium: Any) -> None:
    """Orange above 0 and blue below, the stronger the farther from 0, up to the number at the scale's end."""
    batch = make_batch()
    with torch.no_grad():
        batch.model.network.cell(0).hyper.D.normal_()
    with serving(batch) as address:
        page = opened(chromium, address)
        write(page, Prompt="ab", Length=20, Seed=2)
        text = "ab" + shown(page, 0)
        page.locator(".text").first.locator("span").nth(12).hover()
        _, layer = traced(batch, text)
        check_columns(page, layer, len(text))
        page.close()


def check_columns(page: Any, layer: Any, length: int) -> None:
    """Compare the colours of the strips of the character 12, and the ends of their scale, with the trace of the text."""
    end = float(page.locator(".scale .most").text_content().removeprefix("≥ "))
    assert page.locator(".scale .least").text_content() == f"≤ -{end:g}"
    sizes = layer.d_h[: length - 1, 0].abs().flatten(1).sort().values
    assert end == pytest.approx(float(sizes[:, int(0.95 * (sizes.shape[1] - 1))].max()), rel=0.06)
    for gate in range(4):
        pixels = torch.tensor(page.locator(".rows canvas").nth(gate).evaluate(PIXELS)).view(8, 4)
        d = layer.d_h[11, 0, gate]
        strong = d.abs() > 0.1 * end
        assert (d < 0).any()
        assert (d > 0).any()
        assert ((pixels[:, 0] > pixels[:, 2]) == (d > 0))[strong].all()
        torch.testing.assert_close(pixels[:, 3] / 255, (d.abs() / end).clamp(max=1), rtol=0.06, atol=0.01)


def test_a_run_with_fixed_weights_has_probabilities_alone(page: Any, batches: tuple[Any, Any]) -> None:
    write(page, Prompt="ab", Length=20)
    page.locator(".text").last.locator("span").nth(5).hover()
    expect(page.locator(".rows")).to_be_empty()
    expect(page.locator(".columns")).to_have_text("none: this network's weights are fixed")
    expect(page.locator(".diagram .small")).to_have_text("none in this network")
    with torch.no_grad():
        ids = encode("ab" + shown(page, 1), SYMBOLS.alphabet).long()
        p = batches[1].model(ids[:5].unsqueeze(1))[0][-1, 0].softmax(-1)
    assert percents(page, ".likely .chosen .number") == pytest.approx([float(p[ids[5]])], rel=0.06)
    page.locator(".text").first.locator("span").nth(5).hover()
    expect(page.locator(".rows > div")).to_have_count(4)


def test_characters_beyond_the_limit_say_so(chromium: Any, batches: tuple[Any, Any]) -> None:
    with serving(batches[0], limits=Limits(max_details=10)) as address:
        page = opened(chromium, address)
        write(page, Prompt="ab", Length=30)
        page.locator(".text").first.locator("span").nth(5).hover()
        expect(page.locator(".rows canvas").first).to_be_visible()
        page.locator(".text").first.locator("span").nth(25).hover()
        expect(page.locator(".rows canvas").first).to_be_hidden()
        expect(page.locator(".columns")).to_have_text("Details are sent for the first characters of a text only.")
        page.close()


def typed(page: Any) -> list[list[float]]:
    """The changes of each character of what is typed."""
    return page.locator("#read-prompt").evaluate(CHANGES)


def test_what_is_typed_is_coloured(page: Any, batches: tuple[Any, Any]) -> None:
    """After a pause, without a click, by the changes that the same text has elsewhere; the diagram has its last character."""
    area, status = page.get_by_label("Prompt"), page.locator("#reading")
    area.press_sequentially("abba")
    expect(status).to_contain_text("Bits per character")
    expect(page.locator(".wrote")).to_have_text("a")
    for text in ("abba", "abba\ncabd"):
        fill(page, Prompt=text)
        expected = [
            letter.changes for letter in coloured_text(batches[0].model, SYMBOLS, encode(text, SYMBOLS.alphabet))
        ]
        expect(page.locator("#read-prompt span")).to_have_count(len(text))
        page.wait_for_function(
            "() => document.querySelector('#read-prompt span:last-child').style.getPropertyValue('--0')"
        )
        for found, wanted in zip(typed(page), expected, strict=True):
            assert found == pytest.approx(wanted, rel=2e-3)
    expect(page.locator(".text").first.locator("span")).to_have_count(0)  # nothing is written
    bits = []
    for batch in batches:
        ids = encode(text, SYMBOLS.alphabet).long()
        with torch.no_grad():
            p = batch.model(ids[:-1].unsqueeze(1))[0][:, 0].softmax(-1)
        bits.append(float(-p.gather(1, ids[1:].unsqueeze(1)).log2().mean()))
    found = re.fullmatch(
        r"Bits per character to predict this text \(fewer is better\): run (\S+); run2 (\S+)\.", status.text_content()
    )
    assert found is not None
    assert [float(each) for each in found.groups()] == pytest.approx(bits, abs=0.006)


def test_the_cursor_chooses_the_character(page: Any) -> None:
    area = page.get_by_label("Prompt")
    fill(page, Prompt="abcd")
    expect(page.locator(".wrote")).to_have_text("d")
    area.press("ArrowLeft")
    expect(page.locator(".wrote")).to_have_text("c")
    expect(page.locator(".read")).to_have_text("b")
    area.press("Home")
    area.press("ArrowRight")
    expect(page.locator(".wrote")).to_have_text("a")
    expect(page.locator(".read")).to_have_text("the beginning")


def test_typing_asks_once_after_a_pause_and_ends_the_request_before(page: Any) -> None:
    expect(page.locator("#reading")).to_be_empty()
    asked: list[str] = []
    ended: list[str] = []
    page.on(
        "request", lambda request: request.url.endswith("/api/read") and asked.append(request.post_data_json["prompt"])
    )
    page.on("requestfailed", lambda request: ended.append(request.post_data_json["prompt"]))
    page.route(
        "**/api/read", lambda route: None if route.request.post_data_json["prompt"] == "ab" else route.continue_()
    )
    area = page.get_by_label("Prompt")
    area.press_sequentially("ab", delay=10)
    page.wait_for_timeout(1000)
    assert asked == ["ab"] * 2  # by each run, after the last character
    area.press_sequentially("c")
    expect(page.locator("#reading")).to_contain_text("Bits per character")
    assert sorted(asked) == ["ab"] * 2 + ["abc"] * 2
    assert ended.count("ab") == 2  # nothing answers them, so only the page can have ended them


COMPOSE = """(area, isComposing) => {
    area.value += "a";
    area.dispatchEvent(new InputEvent("input", { isComposing }));
    if (!isComposing) area.dispatchEvent(new CompositionEvent("compositionend"));
}"""


def test_a_character_that_is_being_composed_is_not_read(page: Any) -> None:
    """As with an input method for Chinese: the letters of a syllable are not the text yet."""
    asked: list[str] = []
    page.on(
        "request", lambda request: request.url.endswith("/api/read") and asked.append(request.post_data_json["prompt"])
    )
    area = page.get_by_label("Prompt")
    area.evaluate(COMPOSE, True)
    page.wait_for_timeout(1000)
    assert asked == []
    area.evaluate(COMPOSE, False)
    expect(page.locator("#reading")).to_contain_text("Bits per character")
    assert asked == ["aa"] * 2


def test_strips_of_an_unchanged_beginning_stay_while_the_rest_is_typed(page: Any) -> None:
    fill(page, Prompt="abcd")
    page.wait_for_function(
        "() => document.querySelector('#read-prompt span:nth-child(4)')?.style.getPropertyValue('--0')"
    )
    before = typed(page)
    page.route("**/api/read", lambda route: None)
    page.get_by_label("Prompt").press("End")
    page.get_by_label("Prompt").press_sequentially("a")
    expect(page.locator("#read-prompt span")).to_have_count(5)
    assert typed(page) == [*before, []]
    page.get_by_label("Prompt").press("Backspace")
    page.get_by_label("Prompt").press("Backspace")
    assert typed(page) == before[:3]


def test_unknown_characters_are_named_while_they_are_typed(page: Any) -> None:
    fill(page, Prompt="a<b>")
    expect(page.locator("#reading")).to_have_text(
        "run was trained on a text without '<' (character 2), '>' (character 4): change the prompt."
    )
    expect(page.get_by_role("alert")).to_be_empty()
    fill(page, Prompt="")
    expect(page.locator("#reading")).to_be_empty()
    assert not any(url.endswith("/api/read") for url in page.asked)


LAYOUT = """() => {
    const area = document.getElementById("prompt"), box = document.getElementById("read-prompt");
    const inner = (x) => [x.clientWidth, x.clientHeight, x.scrollHeight, x.scrollTop];
    return [inner(area), inner(box)];
}"""


@pytest.mark.parametrize("width", [320, 1280])
def test_the_strips_are_below_their_characters(chromium: Any, address: str, width: int) -> None:
    """Where lines wrap, and after scrolling: the box of the strips has the text's width, height and lines."""
    page = opened(chromium, address, viewport={"width": width, "height": 740})
    expect(page.locator("section")).to_have_count(2)
    for text in ("ab", "abcdefg " * 60, "ab\n" * 3, "a\n\nb\n" * 20 + "g" * 200, "a  " * 90):
        fill(page, Prompt=text)
        page.get_by_label("Prompt").press("Control+End")
        page.wait_for_timeout(50)
        area, box = page.evaluate(LAYOUT)
        assert area == pytest.approx(box, abs=1)
        assert area[1] <= 200
    page.close()


def test_hostile_names_and_texts_stay_text(chromium: Any) -> None:
    """A run's name, an alphabet and a text of markup are shown as they are."""
    name = "<img src=x onerror=alert(1)>"
    batch = make_batch(symbols=Symbols(tuple("\n <>&\"'/=bi"), "character"))
    with serving(batch, names=(name,)) as address:
        page = opened(chromium, address)
        text = "<b>i</b>&\"'"
        write(page, Prompt=text, Length=30, Temperature=5)
        assert page.locator(".prompt").all_text_contents() == list(text)
        assert page.locator("h2").text_content() == name
        expect(page.locator("#reading")).to_contain_text(name)
        assert page.locator("img, .text b, .likely b, #reading b").count() == 0
        assert page.errors == []
        page.close()


def test_changes_of_the_typed_text_and_of_the_prompt_are_equal(page: Any) -> None:
    write(page, Prompt="abcab", Length=5)
    expect(page.locator("#reading")).to_contain_text("Bits per character")
    assert typed(page) == changes(page, 0)[:5]
