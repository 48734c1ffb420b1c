"""The page in Firefox: what is typed is coloured, a text is written and looked through, and both languages are there."""

from collections.abc import Iterator
from typing import Any

import pytest

from hypernetworks.text.generate import Sampling, generate

from .clients import SYMBOLS
from .firefox import PROGRAM, Firefox, firefox

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no Firefox on this machine (Debian: apt-get install firefox-esr)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with firefox(tmp_path_factory.mktemp("profile"), "zh-CN, en") as browser:
        yield browser


@pytest.fixture
def page(browser: Firefox, address: str) -> Firefox:
    browser.open("about:blank")
    browser.open(f"{address}/#language=en")
    browser.wait("document.querySelectorAll('section').length === 2")
    return browser


def count(selector: str) -> str:
    return f"document.querySelectorAll({selector!r}).length"


def test_a_text_is_written_and_its_steps_are_shown(page: Firefox, batches: tuple[Any, Any]) -> None:
    page.type("#prompt", "ab")
    page.type("#length", "40")
    page.click("#write")
    page.wait("[...document.querySelectorAll('.status')].every((each) => each.textContent.startsWith('Finished: 40'))")
    text = "[...document.querySelectorAll('#run0 .text span:not(.prompt)')].map((each) => each.textContent).join('')"
    expected = "".join(generate(batches[0].model, SYMBOLS.alphabet, "character", "ab", Sampling(40)))
    assert page.run(f"return {text}").replace("↵", "\n") == expected
    span = "document.querySelectorAll('#run0 .text span')[20]"
    assert page.run(f"return getComputedStyle({span}).backgroundImage").count("gradient") == 4
    page.run(f"{span}.dispatchEvent(new PointerEvent('pointermove', {{ bubbles: true }}))")
    page.wait("document.querySelector('#run0 .change').textContent.startsWith('21: Read ')")
    name = {"\n": "end of line", " ": "space"}.get(expected[18], expected[18])
    page.wait(f"document.querySelector('.wrote').textContent === {name!r}")
    assert page.run("return " + count(".likely > div:not([hidden])")) in (6, 7)
    assert page.run("return " + count(".rows canvas:not([hidden])")) == 4
    pixels = page.run(
        "return [...document.querySelector('.rows canvas').getContext('2d').getImageData(0, 0, 8, 1).data]"
    )
    assert all(colour in ([240, 116, 22], [44, 116, 214]) for colour in (pixels[k : k + 3] for k in range(0, 32, 4)))


def test_what_is_typed_is_coloured_below_its_characters(page: Firefox) -> None:
    text = "abc defg " * 40
    page.type("#prompt", text)
    page.wait("document.querySelector('#read-prompt span:last-child').style.getPropertyValue('--3') !== ''")
    assert page.run("return " + count("#read-prompt span")) == len(text)
    page.wait("document.querySelector('#reading').textContent.startsWith('Bits per character')")
    sizes = (
        "['prompt', 'read-prompt'].map((id) => document.getElementById(id)).map((x) => [x.clientWidth, x.scrollHeight])"
    )
    area, box = page.run(f"return {sizes}")
    assert area == pytest.approx(box, abs=1)


def test_the_browser_s_language_is_taken_and_can_be_changed(browser: Firefox, address: str) -> None:
    browser.open("about:blank")
    browser.open(address)
    assert (
        browser.wait("document.documentElement.lang === 'zh' && document.querySelector('#write').textContent")
        == "开始写"
    )
    browser.run(
        "const choice = document.querySelector('#language'); choice.value = 'en'; choice.dispatchEvent(new Event('change'))"
    )
    assert browser.run("return document.querySelector('#write').textContent") == "Write"
    assert "language=en" in browser.run("return location.hash")


@pytest.mark.parametrize("width", [500, 1280])  # Firefox has no narrower windows
def test_nothing_is_wider_than_the_window(page: Firefox, width: int) -> None:
    page._command("WebDriver:SetWindowRect", width=width, height=800)
    # the window takes its new size after the command has returned
    page.wait(f"outerWidth === {width} && document.documentElement.scrollWidth <= document.documentElement.clientWidth")
