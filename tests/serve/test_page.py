"""The page in Chromium: what is shown is what the model writes, by mouse or by keyboard, wide or narrow, light or dark."""

import re
import shutil
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from hypernetworks.serve.limits import Limits
from hypernetworks.text.generate import Sampling, generate

from .clients import SYMBOLS, make_batch, serving

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=60_000)  # how long anything takes on a shared machine says nothing

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
BATCHES = make_batch("hyper-lstm"), make_batch("lstm")
PHONE = {"viewport": {"width": 360, "height": 740}}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(*BATCHES, limits=Limits(max_length=10**6)) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


def opened(chromium: Any, address: str, **context: Any) -> Any:
    """The page, with nothing asked for anywhere but at the server, and no error in its scripts."""
    page = chromium.new_page(**context)
    page.set_default_timeout(60_000)
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(error))
    page.asked, page.errors = [], []
    page.goto(address)
    return page


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    page = opened(chromium, address)
    expect(page.locator("section")).to_have_count(2)
    yield page
    assert page.asked
    assert all(url.startswith((address, "data:")) for url in page.asked)
    assert page.errors == []
    page.close()


def fill(page: Any, **settings: Any) -> None:
    for label, value in settings.items():
        page.get_by_label(label).fill(str(value))


def write(page: Any, **settings: Any) -> None:
    fill(page, **settings)
    page.get_by_role("button", name="Write").click()
    for line in page.locator(".status").all():
        expect(line).to_contain_text("Finished")


def shown(page: Any, run: int) -> str:
    """The text of a run, its ends of lines as they are."""
    spans = page.locator(".text").nth(run).locator("span:not(.prompt)")
    return "".join(spans.all_text_contents()).replace("↵", "\n")


def is_idle(address: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while httpx.get(f"{address}/health").json()["active"]:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_both_runs_write_on_the_same_prompt(page: Any) -> None:
    write(page, Prompt="ab", Length=150, Seed=5, Temperature=1.1)
    for run, batch in enumerate(BATCHES):
        expected = "".join(generate(batch.model, SYMBOLS.alphabet, "character", "ab", Sampling(150, 1.1, seed=5)))
        assert shown(page, run) == expected
    expect(page.locator(".status").first).to_have_text(re.compile(r"Finished: 150 characters in \d+\.\d s"))
    assert page.locator(".text").first.locator("[class^=c]").count() > 75
    assert page.locator(".text").last.locator("[class^=c]").count() == 0
    assert "nothing is coloured" in page.locator(".about").last.text_content()


def test_numbers_are_there_by_keyboard_and_pointer_and_gates_by_choice(page: Any) -> None:
    write(page, Prompt="ab", Length=60)
    text, numbers = page.locator(".text").first, page.locator(".change").first
    text.press("ArrowRight")
    expect(numbers).to_have_text(re.compile("^1: .* — written by the step that read the prompt's end$"))
    text.press("ArrowRight")
    told = re.fullmatch(
        r"2: .* — weights changed by (\S+) \(i (\S+), f (\S+), g (\S+), o (\S+)\)", numbers.text_content()
    )
    assert told is not None
    total, *gates = map(float, told.groups())
    assert total == pytest.approx(sum(gate**2 for gate in gates) ** 0.5, rel=0.01)
    text.press("End")
    expect(numbers).to_have_text(re.compile("^60: "))
    text.locator("span:not(.prompt)").nth(29).hover()
    expect(numbers).to_have_text(re.compile("^30: "))
    before = [each.get_attribute("class") for each in text.locator("span").all()]
    page.get_by_label("Colour").select_option("gate f")
    assert [each.get_attribute("class") for each in text.locator("span").all()] != before


def test_stop_stops_the_work_on_the_server(page: Any, address: str) -> None:
    fill(page, Prompt="ab", Length=10**6)
    page.get_by_role("button", name="Write").click()
    expect(page.locator(".text").first.locator("span").nth(20)).to_be_attached()
    assert not is_idle(address, 0)
    # not click(), which waits for two still frames: on a busy machine text comes faster than they are drawn
    page.get_by_role("button", name="Stop").dispatch_event("click")
    assert is_idle(address, 1)
    expect(page.locator(".status").first).to_contain_text("Stopped: ")
    expect(page.get_by_role("button", name="Write")).to_be_focused()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def test_all_of_it_works_by_keyboard(page: Any, address: str) -> None:
    order = []
    for _ in range(9):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert order == ["", "prompt", "temperature", "top_k", "length", "seed", "write", "gate", "text"]
    page.get_by_label("Length").fill("1000000")
    page.get_by_label("Prompt").press("Control+Enter")
    expect(page.locator(".status").first).to_contain_text("Writing")
    expect(page.locator(".text").first.locator("span").nth(20)).to_be_attached()
    page.keyboard.press("Escape")
    expect(page.locator(".status").first).to_contain_text("Stopped")
    assert is_idle(address, 1)


def test_to_write_anew_ends_what_is_being_written(page: Any, address: str) -> None:
    fill(page, Prompt="ab", Length=10**6)
    page.get_by_role("button", name="Write").click()
    expect(page.locator(".text").first.locator("span").nth(20)).to_be_attached()
    write(page, Length=30)
    assert len(shown(page, 0)) == 30
    assert is_idle(address, 1)


def test_what_the_server_refuses_is_said(page: Any) -> None:
    fill(page, Prompt="axb")
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("alert")).to_contain_text("'x' at 1")
    expect(page.locator(".status").first).to_contain_text("Failed")
    write(page, Prompt="ab", Length=10)
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_token_is_asked_for(chromium: Any) -> None:
    with serving(BATCHES[0], token="s3cret") as address:
        page = opened(chromium, address)
        expect(page.get_by_label("Token")).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("this server wants its token")
        fill(page, Token="s3cret", Prompt="", Length=20)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Write").click()
        expect(page.locator(".status")).to_contain_text("Finished")
        page.close()


@pytest.mark.parametrize("path", ["", "/docs"])
def test_a_phone_s_width_is_enough(chromium: Any, address: str, path: str) -> None:
    page = opened(chromium, address + path, **PHONE)
    if not path:
        write(page, Prompt="ab", Length=100)
    else:
        expect(page.locator("article")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()


CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const paint = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); };
    const box = document.querySelector(".text");
    const pixel = () => [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    return [1, 2, 3, 4, 5, 6, 7, 8].map((level) => {
        const span = document.createElement("span");
        span.className = `c${level}`;
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_on_every_colour(chromium: Any, address: str, scheme: str) -> None:
    page = opened(chromium, address, color_scheme=scheme)
    expect(page.locator("section")).to_have_count(2)
    pairs = page.evaluate(CONTRASTS)
    assert all(
        (max(a, b) + 0.05) / (min(a, b) + 0.05) > 4.5 for a, b in ((luminance(x), luminance(y)) for x, y in pairs)
    )
    assert all(one != next_one for one, next_one in pairwise(back for back, _ in pairs))
    page.close()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there (npm install --no-save axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "/docs"])
def test_axe_finds_nothing_serious(chromium: Any, address: str, path: str, scheme: str) -> None:
    page = opened(chromium, address + path, color_scheme=scheme)
    if not path:
        write(page, Prompt="ab", Length=200)
    else:
        expect(page.locator("article")).to_have_count(3)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")
    assert len(found["passes"]) > 10
    assert [
        (each["id"], each["impact"]) for each in found["violations"] if each["impact"] in ("serious", "critical")
    ] == []
    page.close()
