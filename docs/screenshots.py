"""Screenshots of the page and the report for the documentation: `make screenshots`, or python docs/screenshots.py RUN [RUN2].

Chromium is the system's (apt-get install chromium), driven by Playwright.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

TEXT = [sys.executable, "-m", "hypernetworks", "text"]
IMAGES = Path(__file__).parent / "images"
VIEWS = {
    "page-light": {"viewport": {"width": 1280, "height": 1020}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1280, "height": 1020}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 1500}, "color_scheme": "light"},
}


def write_text(page: Page, address: str) -> None:
    """Generate a text and point at one of its characters."""
    page.goto(address)
    page.get_by_label("Prompt").fill("ROMEO:")
    page.get_by_label("Length").fill("700")
    page.get_by_role("button", name="Write").click()
    for line in page.locator("section:not([hidden]) .status").all():
        expect(line).to_contain_text("Finished", timeout=60_000)
    text = page.locator(".text").first
    text.evaluate("box => { box.scrollTop = 0; box.focus({focusVisible: false}); }")
    for _ in range(60):
        text.press("ArrowRight")
    page.evaluate("window.scrollTo(0, 0)")


def show_served(browser: Browser, runs: list[str]) -> None:
    """Serve the runs and take a screenshot of each view."""
    with subprocess.Popen([*TEXT, "serve", *runs, "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        told = re.match(r"http://\S+", server.stdout.readline())
        assert told is not None, "the server did not start"
        try:
            for name, view in VIEWS.items():
                page = browser.new_page(**view)
                write_text(page, told[0])
                page.screenshot(path=IMAGES / f"{name}.png")
        finally:
            server.terminate()


def show_report(browser: Browser, runs: list[str]) -> None:
    """Write the report of the runs and take a screenshot of its top."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        subprocess.run([*TEXT, "report", *runs, "--out", str(report)], check=True, stdout=subprocess.DEVNULL)
        page = browser.new_page(viewport={"width": 1100, "height": 1300}, color_scheme="light")
        page.goto(report.as_uri())
        page.screenshot(path=IMAGES / "report.png")


def main(runs: list[str]) -> None:
    """Take all screenshots."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        show_served(browser, runs)
        show_report(browser, runs)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
