"""Pictures of the page for the README: `make screenshots`, or python docs/screenshots.py RUN [RUN2].

Chromium is the system's (apt-get install chromium), driven by Playwright.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

IMAGES = Path(__file__).parent / "images"
VIEWS = {
    "page-light": {"viewport": {"width": 1100, "height": 920}, "color_scheme": "light"},
    "page-dark": {"viewport": {"width": 1100, "height": 920}, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def write_text(page: Page, address: str) -> None:
    """Have a text written, and look at one of its characters."""
    page.goto(address)
    page.get_by_label("Prompt").fill("ROMEO:")
    page.get_by_label("Length").fill("700")
    page.get_by_role("button", name="Write").click()
    for line in page.locator(".status").all():
        expect(line).to_contain_text("Finished", timeout=60_000)
    text = page.locator(".text").first
    text.evaluate("box => { box.scrollTop = 0; box.focus({focusVisible: false}); }")
    for _ in range(60):
        text.press("ArrowRight")
    page.evaluate("window.scrollTo(0, 0)")


def main(runs: list[str]) -> None:
    """Serve the runs and take a picture of each view."""
    command = [sys.executable, "-m", "hypernetworks", "text", "serve", *runs, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:
        assert server.stdout is not None
        told = re.match(r"http://\S+", server.stdout.readline())
        assert told is not None, "the server did not start"
        try:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
            for name, view in VIEWS.items():
                page = browser.new_page(**view)
                write_text(page, told[0])
                page.screenshot(path=IMAGES / f"{name}.png")
            browser.close()
        finally:
            server.terminate()


if __name__ == "__main__":
    main(sys.argv[1:])
