"""The page in Chromium: it writes the model's text, works by mouse and keyboard, at any width, in light and dark mode."""

import json
import re
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from hypernetworks.serve.limits import Limits
from hypernetworks.text.generate import Sampling, generate

from .browsing import begin, changes, expect, fill, opened, shown, write
from .clients import SYMBOLS, serving

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


def is_idle(address: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while httpx.get(f"{address}/health").json()["active"]:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_both_runs_write_on_the_same_prompt(page: Any, batches: tuple[Any, Any]) -> None:
    write(page, Prompt="ab", Length=150, Seed=5, Temperature=1.1)
    for run, batch in enumerate(batches):
        expected = "".join(generate(batch.model, SYMBOLS.alphabet, "character", "ab", Sampling(150, 1.1, seed=5)))
        assert shown(page, run) == expected
    expect(page.locator(".status").first).to_have_text(re.compile(r"Finished: 150 characters in \d+\.\d s"))
    assert page.locator(".text").first.locator(".prompt").all_text_contents() == ["a", "b"]
    assert "fixed weights" in page.locator(".about").last.text_content()
    assert not any(changes(page, 1))


def test_stop_stops_the_work_on_the_server(page: Any, address: str) -> None:
    begin(page, Prompt="ab", Length=10**6)
    assert not is_idle(address, 0)
    # not click(), which waits for two still frames: on a busy machine text comes faster than they are drawn
    page.get_by_role("button", name="Stop").dispatch_event("click")
    assert is_idle(address, 1)
    expect(page.locator(".status").first).to_contain_text("Stopped: ")
    expect(page.get_by_role("button", name="Write")).to_be_focused()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def test_all_of_it_works_by_keyboard(page: Any, address: str) -> None:
    order = []
    for _ in range(11):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    fields = ["prompt", "temperature", "top_k", "top_p", "length", "seed"]
    assert order == ["language", "", *fields, "write", "gate", "text"]
    page.get_by_label("Length").fill("1000000")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.locator(".status").first).to_contain_text("Writing")
    expect(page.locator(".text").first.locator("span").nth(20)).to_be_attached()
    page.keyboard.press("Escape")
    expect(page.locator(".status").first).to_contain_text("Stopped")
    assert is_idle(address, 1)


def test_a_new_request_ends_the_current_one(page: Any, address: str) -> None:
    """And what it says is said of the new one."""
    begin(page, Prompt="ab", Length=10**6)
    fill(page, Length=30)
    page.get_by_role("button", name="Write").dispatch_event("click")  # not click(), as above
    for line in page.locator(".status").all():
        expect(line).to_contain_text("Finished")
    for run in (0, 1):
        assert len(shown(page, run)) == 30
    assert [text.partition(" characters")[0] for text in page.locator(".status").all_text_contents()] == [
        "Finished: 30"
    ] * 2
    assert is_idle(address, 1)


def test_write_before_the_runs_are_known_writes_once(chromium: Any, address: str) -> None:
    page = chromium.new_page()
    page.route("**/api/runs", lambda route: (time.sleep(0.5), route.continue_()))
    page.goto(address)
    fill(page, Prompt="ab", Length=20)
    for _ in range(3):
        page.get_by_role("button", name="Write").click()
    expect(page.locator(".status").first).to_contain_text("Finished")
    expect(page.locator("section")).to_have_count(2)
    expect(page.get_by_label("Colour").locator("option")).to_have_count(5)
    assert len(shown(page, 0)) == 20
    page.close()


def test_what_is_copied_has_its_blank_lines(page: Any) -> None:
    write(page, Prompt="a\n\nb\n\n\nc", Length=50, Temperature=3)
    copied = page.locator(".text").first.evaluate("""box => {
        getSelection().selectAllChildren(box);
        const clipboardData = new DataTransfer();
        box.dispatchEvent(new ClipboardEvent("copy", { clipboardData, cancelable: true }));
        return clipboardData.getData("text/plain");
    }""")
    assert copied == "a\n\nb\n\n\nc" + shown(page, 0)


def test_a_refused_request_says_why_and_keeps_the_texts(page: Any) -> None:
    write(page, Prompt="ab", Length=10)
    before = shown(page, 0)
    fill(page, Prompt="axb")
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("alert")).to_contain_text("run was trained on a text without 'x' (character 2)")
    expect(page.locator(".status").first).to_contain_text("Failed")
    assert shown(page, 0) == before
    write(page, Prompt="ab", Length=12)
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_full_server_is_said_and_the_texts_stay(chromium: Any, batches: tuple[Any, Any]) -> None:
    """In the page's own words, for writing and for reading what is typed; later both work again."""
    with serving(*batches, limits=Limits(max_length=10**7, rows=2, queue=8)) as address:
        page = opened(chromium, address)
        write(page, Prompt="ab", Length=20)
        before = [shown(page, run) for run in (0, 1)]
        sentence = re.compile(r"^The server is full: .* Nothing is lost; try again in 1 s\.$")
        with ExitStack() as others:
            for seed in range(10):
                body = {"length": 10**7, "seed": seed}
                others.enter_context(httpx.stream("POST", f"{address}/api/generate", json=body, timeout=60))
            page.get_by_role("button", name="Write").click()
            expect(page.get_by_role("alert")).to_have_text(sentence)
            for line in page.locator(".status").all():
                expect(line).to_contain_text("Failed: 0 characters")
            assert [shown(page, run) for run in (0, 1)] == before
            fill(page, Prompt="abc")
            expect(page.locator("#reading")).to_have_text(sentence)
        assert is_idle(address, 10)
        write(page, Prompt="abcd", Length=12)
        expect(page.get_by_role("alert")).to_be_empty()
        expect(page.locator("#reading")).to_contain_text("Bits per character")
        page.close()


def test_a_server_with_other_runs_is_noticed(page: Any) -> None:
    """As after a restart: the request names a run that the server does not have."""
    fill(page, Prompt="ab", Length=10)
    page.route(
        "**/api/generate",
        lambda route: route.continue_(post_data=json.dumps({**route.request.post_data_json, "run": "old"})),
    )
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("alert")).to_have_text("The server has other runs now: reload the page.")


def test_a_text_in_the_queue_waits_and_the_limit_of_the_length_is_kept(chromium: Any, batches: tuple[Any, Any]) -> None:
    """With room for one text, and many of another client before it, the page does not say that it is written."""
    with serving(*batches, limits=Limits(max_length=400, rows=1, queue=64)) as address:
        page = opened(chromium, address)
        expect(page.get_by_label("Length")).to_have_value("400")
        with ExitStack() as others:
            for seed in range(40):
                body = {"length": 400, "seed": seed}
                others.enter_context(httpx.stream("POST", f"{address}/api/generate", json=body, timeout=60))
            fill(page, Prompt="ab")
            page.get_by_role("button", name="Write").click()
            expect(page.locator(".status").first).to_have_text("Waiting …")
            expect(page.locator(".status").last).to_have_text("Waiting …")
        for line in page.locator(".status").all():
            expect(line).to_contain_text("Finished: 400 characters")
        page.close()


def test_a_token_is_asked_for(chromium: Any, batches: tuple[Any, Any]) -> None:
    with serving(batches[0], token="s3cret") as address:
        page = opened(chromium, address)
        expect(page.get_by_label("Token")).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("This server requires a token")
        fill(page, Token="wrong", Prompt="", Length=20)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("The token is wrong")
        fill(page, Token="s3cret")
        page.get_by_role("button", name="Write").click()
        expect(page.locator(".status")).to_contain_text("Finished")
        expect(page.get_by_role("alert")).to_be_empty()
        page.close()


@pytest.mark.parametrize("width", [320, 360, 768, 1280, 1920])
@pytest.mark.parametrize("path", ["", "/docs"])
def test_any_width_is_enough(chromium: Any, address: str, path: str, width: int) -> None:
    page = opened(chromium, address + path, viewport={"width": width, "height": 740})
    if not path:
        write(page, Prompt="ab", Length=100)
        # lines of text are not broken into columns
        lines = (
            page.locator(".text").first.locator("div").evaluate_all("x => x.map((y) => y.getBoundingClientRect().left)")
        )
        assert len(set(lines)) == 1
        cut = "x => x.filter((y) => y.scrollWidth > y.clientWidth + 1 && getComputedStyle(y).overflowX === 'visible').length"
        assert (
            page.locator("main > *, .diagram > div > *, form > div, .tools > div, section > *").evaluate_all(cut) == 0
        )
    else:
        expect(page.locator("article")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_one_screen_has_it_all(chromium: Any, address: str) -> None:
    """In the order of importance: the explanation with its diagram, what is typed, the controls in one row, and the texts."""
    page = opened(chromium, address, viewport={"width": 1280, "height": 800})
    write(page, Prompt="ab", Length=100)

    def top(selector: str) -> float:
        return page.locator(selector).first.bounding_box()["y"]

    assert top(".lead") < top(".diagram") < top("#prompt") < top("#temperature") < top("#player") < top(".text") < 600
    rows = [page.locator(each).bounding_box() for each in ("#temperature", "#seed", "#write", "#stop")]
    assert max(abs(row["y"] + row["height"] / 2 - rows[0]["y"] - rows[0]["height"] / 2) for row in rows) < 4
    page.close()


CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); };
    const box = document.querySelector(".text");
    const pixel = () => [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    document.documentElement.dataset.gate = "i";
    return [0.125, 0.25, 0.5, 0.75, 1].map((change) => {
        const span = document.createElement("span");
        span.style.setProperty("--0", change);
        box.append(span);
        const style = getComputedStyle(span);
        paint(getComputedStyle(box).backgroundColor);
        paint(style.backgroundColor);
        const back = pixel();
        paint(style.color);
        span.remove();
        return [back, pixel()];
    });
}"""


def luminance(rgb: list[int]) -> float:
    """Relative luminance, WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in rgb)]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(
    "media",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {"color_scheme": "dark", "forced_colors": "active"},
        {"color_scheme": "dark", "media": "print"},
    ],
    ids=["light", "dark", "forced colours", "print"],
)
def test_text_is_legible_on_every_colour(chromium: Any, address: str, media: dict[str, Any]) -> None:
    page = opened(chromium, address)
    page.emulate_media(**media)
    expect(page.locator("section")).to_have_count(2)
    assert page.locator(".text").first.evaluate("x => getComputedStyle(x).printColorAdjust") == "exact"
    if media.get("media") == "print":  # dark ink, whatever the screen's scheme
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 28, 32)"
    pairs = page.evaluate(CONTRASTS)
    assert all(
        (max(a, b) + 0.05) / (min(a, b) + 0.05) > 4.5 for a, b in ((luminance(x), luminance(y)) for x, y in pairs)
    )
    assert all(one != next_one for one, next_one in pairwise(back for back, _ in pairs))
    page.close()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there (npm install --no-save axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "/#language=zh", "/docs"])
def test_axe_finds_nothing_serious(chromium: Any, address: str, path: str, scheme: str) -> None:
    page = opened(chromium, address + path, color_scheme=scheme)
    if path == "/docs":
        expect(page.locator("article")).to_have_count(5)
    else:
        page.locator("#prompt").fill("ab")
        page.locator("#write").click()
        expect(page.locator(".status").last).to_contain_text(re.compile("Finished|完成"))
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")
    assert len(found["passes"]) > 10
    assert [
        (each["id"], each["impact"]) for each in found["violations"] if each["impact"] in ("serious", "critical")
    ] == []
    page.close()
