"""The page as a reader uses it, in Chromium."""

from typing import Any

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed").expect
expect.set_options(timeout=60_000)  # how long anything takes on a shared machine says nothing


def opened(chromium: Any, address: str, **context: Any) -> Any:
    """Open the page, and record its requests and script errors."""
    page = chromium.new_page(**context)
    page.set_default_timeout(60_000)
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(error))
    page.asked, page.errors = [], []
    page.goto(address)
    return page


def fill(page: Any, **settings: Any) -> None:
    for label, value in settings.items():
        page.get_by_label(label).fill(str(value))


def write(page: Any, **settings: Any) -> None:
    fill(page, **settings)
    page.get_by_role("button", name="Write").click()
    for line in page.locator(".status").all():
        expect(line).to_contain_text("Finished")


def shown(page: Any, run: int) -> str:
    """The text of a run, with newlines restored."""
    spans = page.locator(".text").nth(run).locator("span:not(.prompt)")
    return "".join(spans.all_text_contents()).replace("↵", "\n")


CHANGES = """box => [...box.querySelectorAll("span")].map((span) =>
    [0, 1, 2, 3].map((k) => span.style.getPropertyValue(`--${k}`)).filter((value) => value !== "").map(Number))"""


def changes(page: Any, run: int) -> list[list[float]]:
    """The changes of each character of a run, the prompt's included, that its colours are made of."""
    return page.locator(".text").nth(run).evaluate(CHANGES)


def begin(page: Any, **settings: Any) -> None:
    """Write, and wait until some of the text is there."""
    fill(page, **settings)
    page.get_by_role("button", name="Write").click()
    expect(page.locator(".text").first.locator("span").nth(20)).to_be_attached()
