"""The page in Chromium: it shows the model's text, works by mouse and keyboard, at any width, in light and dark mode."""

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from hypernetworks.serve.frozen import with_frozen
from hypernetworks.serve.limits import Limits
from hypernetworks.text.alphabet import encode
from hypernetworks.text.coloured import coloured_text
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
    """Open the page, and record its requests and script errors."""
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
    assert page.locator(".text").first.locator(".prompt").all_text_contents() == ["a", "b"]
    assert "nothing is coloured" in page.locator(".about").last.text_content()
    assert not any(changes(page, 1))


def test_the_colour_of_a_character_is_the_change_of_the_step_that_wrote_it(page: Any) -> None:
    """The numbers are those that `text strips` and the report have for the same text, and so has the prompt its colours."""
    write(page, Prompt="ab", Length=40, Seed=5)
    symbols, model = BATCHES[0].symbols, BATCHES[0].model
    ids = encode("ab" + shown(page, 0), symbols.alphabet)
    for found, letter in zip(changes(page, 0), coloured_text(model, symbols, ids), strict=True):
        assert found == pytest.approx(letter.changes, rel=2e-3)


def test_numbers_are_there_by_keyboard_and_pointer(page: Any) -> None:
    write(page, Prompt="ab", Length=60)
    text, numbers = page.locator(".text").first, page.locator(".change").first
    text.press("ArrowRight")
    expect(numbers).to_have_text("1: a: no step before it")
    text.press("ArrowRight")
    expect(numbers).to_have_text(re.compile("^2: Read a, expecting b — weights changed: "))
    text.press("ArrowRight")
    match = re.fullmatch(
        r"3: Read b, wrote .+ — weights changed: i (\S+) %, f (\S+) %, g (\S+) %, o (\S+) %", numbers.text_content()
    )
    assert match is not None
    assert [float(number) / 100 for number in match.groups()] == pytest.approx(changes(page, 0)[2], rel=0.06)
    text.press("End")
    expect(numbers).to_have_text(re.compile("^62: "))
    text.locator("span").nth(31).hover()
    expect(numbers).to_have_text(re.compile("^32: "))


def test_the_diagram_follows_the_character(page: Any) -> None:
    """The one that was written last, then the one that is pointed at: what its step read, wrote and changed."""
    write(page, Prompt="ab", Length=60)
    diagram = page.get_by_role("group", name="The step of the current character")
    names = {"\n": "end of line", " ": "space"}
    text = "ab" + shown(page, 0)
    for k in (61, 2, 1):
        if k < 61:
            page.locator(".text").first.locator("span").nth(k).hover()
        expect(diagram.locator(".wrote")).to_have_text(names.get(text[k], text[k]))
        expect(diagram.locator(".read")).to_have_text(names.get(text[k - 1], text[k - 1]))
        numbers = [float(each.removesuffix(" %")) / 100 for each in diagram.locator(".number").all_text_contents()]
        assert numbers == pytest.approx(changes(page, 0)[k], rel=0.06)


def test_the_player_moves_through_the_text(page: Any) -> None:
    player = page.get_by_role("group", name="Move through the text")
    expect(player).to_be_hidden()
    write(page, Prompt="ab", Length=60)
    slider, numbers = player.get_by_role("slider"), page.locator(".change").first
    expect(slider).to_have_value("61")
    slider.fill("30")
    expect(numbers).to_have_text(re.compile("^31: "))
    player.get_by_role("button", name="Next character").click()
    expect(numbers).to_have_text(re.compile("^32: "))
    player.get_by_role("button", name="Previous character").click()
    expect(slider).to_have_value("30")
    player.get_by_label("Speed").select_option("fast")
    player.get_by_role("button", name="Play").click()
    expect(numbers).to_have_text(re.compile("^4[0-9]: "))
    player.get_by_role("button", name="Pause").click()
    stopped = numbers.text_content()
    page.wait_for_timeout(300)
    assert numbers.text_content() == stopped
    player.get_by_role("button", name="Play").click()
    expect(numbers).to_have_text(re.compile("^62: "))
    expect(player.get_by_role("button", name="Play")).to_be_visible()  # it stops at the end


def test_the_mean_change_of_each_kind_of_character_is_there(page: Any) -> None:
    write(page, Prompt="ab cd\n\nef", Length=80, Temperature=3)
    page.locator("summary").first.click()
    table = page.locator(".kinds table").first
    characters = "ab cd\n\nef" + shown(page, 0)
    sums: dict[str, list[list[float]]] = {}
    for k, change in enumerate(changes(page, 0)):
        letter = "later letter" if k and characters[k - 1].isalpha() else "first letter"
        kind = {" ": "space", "\n": "end of line"}.get(characters[k], letter)
        if change:
            sums.setdefault(kind, []).append(change)
    rows = [row.locator("td").all_text_contents() for row in table.locator("tr").all()[1:]]
    assert [row[0] for row in rows] == [
        kind for kind in ("first letter", "later letter", "space", "end of line") if kind in sums
    ]
    for kind, count, *means in rows:
        assert int(count) == len(sums[kind])
        expected = [sum(gate) / len(sums[kind]) for gate in zip(*sums[kind], strict=True)]
        assert [float(mean.removesuffix(" %")) / 100 for mean in means] == pytest.approx(expected, rel=0.06)
    expect(page.locator(".kinds").last).to_be_hidden()


def test_texts_are_saved_with_their_changes(page: Any) -> None:
    write(page, Prompt="a\n", Length=30, Seed=2)
    saved: dict[str, str] = {}
    for form in ("JSON", "CSV"):
        with page.expect_download() as download:
            page.get_by_role("button", name=form).first.click()
        assert download.value.suggested_filename == f"run.{form.lower()}"
        saved[form] = Path(download.value.path()).read_bytes().decode()
    whole = json.loads(saved["JSON"])
    assert whole["text"] == "a\n" + shown(page, 0)
    assert (whole["run"], whole["gates"], whole["settings"]["seed"]) == ("run", ["i", "f", "g", "o"], 2)
    assert [each or [] for each in whole["changes"]] == changes(page, 0)
    head, *rows = csv.reader(io.StringIO(saved["CSV"], newline=""))
    assert head == ["character", "code_point", "i", "f", "g", "o"]
    assert "".join(row[0] for row in rows) == whole["text"]
    assert [[float(number) for number in row[2:] if number] for row in rows] == changes(page, 0)


def test_the_address_has_the_settings_and_never_the_token(chromium: Any, address: str) -> None:
    page = opened(chromium, f"{address}/#token=s3cret&seed=7&prompt=ab%0Ac")
    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.get_by_label("Prompt")).to_have_value("ab\nc")
    assert "s3cret" not in page.url
    write(page, Length=12)
    assert "length=12" in page.url
    assert "s3cret" not in page.url
    again = opened(chromium, page.url)
    write(again)
    assert shown(again, 0) == shown(page, 0)
    again.close()
    page.close()


def test_all_runs_share_one_scale_with_numbers(chromium: Any) -> None:
    """From 0 to the change that 95 % of the shown ones do not reach: of all gates in strips, or of the gate that is chosen."""
    with serving(make_batch("hyper-lstm"), make_batch("hyper-gru")) as address:
        page = opened(chromium, address)
        write(page, Prompt="ab", Length=80)
        both = [*changes(page, 0)[1:], *changes(page, 1)[1:]]
        legend = page.locator(".legend")

        def end(choice: str) -> float:
            page.get_by_label("Colour").select_option(choice)
            match = re.fullmatch(r"0 % (\S+) % and more", " ".join(legend.text_content().split()))
            assert match is not None
            return float(match[1].replace(",", "")) / 100

        all_of_them = sorted(change for each in both for change in each)
        assert end("every gate, in strips") == pytest.approx(all_of_them[int(0.95 * len(all_of_them))], rel=0.06)
        of_f = sorted(each[1] for each in both if len(each) == 4)
        assert end("forget gate f") == pytest.approx(of_f[int(0.95 * len(of_f))], rel=0.06)
        colours = [
            page.locator(".text").nth(run).locator("span").nth(20).evaluate("x => getComputedStyle(x).background")
            for run in (0, 1)
        ]
        assert "gradient" not in colours[0]
        page.get_by_label("Colour").select_option("every gate, in strips")
        strips = [
            page.locator(".text").nth(run).locator("span").nth(20).evaluate("x => getComputedStyle(x).backgroundImage")
            for run in (0, 1)
        ]
        assert [strip.count("gradient") for strip in strips] == [4, 3]
        page.close()


def test_the_frozen_run_is_written_beside_its_own_with_the_same_seed(chromium: Any) -> None:
    """Its text is that of the model whose scales have their mean, and its weights do not move."""
    batch = make_batch("hyper-lstm")
    with torch.no_grad():
        batch.model.network.cell(0).hyper.P.mul_(200)  # weights that move enough to write something else
    frozen = with_frozen("run", batch)
    with serving(*frozen.values(), names=list(frozen)) as address:
        page = opened(chromium, address)
        expect(page.locator("section")).to_have_count(2)
        expect(page.locator("section").last).to_be_hidden()
        fill(page, Prompt="ab", Length=40, Temperature=2)
        page.get_by_role("button", name="Write").click()
        expect(page.locator(".status").first).to_contain_text("Finished")
        page.get_by_label("Freeze the weights").check()
        expect(page.locator(".status").last).to_contain_text("Finished: 40")
        model = frozen["run, frozen"].model
        expected = "".join(generate(model, SYMBOLS.alphabet, "character", "ab", Sampling(40, 2.0)))
        assert shown(page, 1) == expected != shown(page, 0)
        assert all(change == 0 for each in changes(page, 1) for change in each)
        page.get_by_label("Freeze the weights").uncheck()
        expect(page.locator("section").last).to_be_hidden()
        page.close()


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
    for _ in range(10):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert order == ["", "prompt", "temperature", "top_k", "top_p", "length", "seed", "write", "gate", "text"]
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
    write(page, Length=30)
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
    expect(page.get_by_role("alert")).to_contain_text("'x' at 1")
    expect(page.locator(".status").first).to_contain_text("Failed")
    assert shown(page, 0) == before
    write(page, Prompt="ab", Length=12)
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_server_with_other_runs_is_noticed(page: Any) -> None:
    """As after a restart: the request names a run that the server does not have."""
    fill(page, Prompt="ab", Length=10)
    page.route(
        "**/api/generate",
        lambda route: route.continue_(post_data=json.dumps({**route.request.post_data_json, "run": "old"})),
    )
    page.get_by_role("button", name="Write").click()
    expect(page.get_by_role("alert")).to_have_text("The server has other runs now: reload the page.")


def test_a_text_in_the_queue_waits_and_the_limit_of_the_length_is_kept(chromium: Any) -> None:
    """With room for one text, and many of another client before it, the page does not say that it is written."""
    with serving(*BATCHES, limits=Limits(max_length=400, rows=1, queue=64)) as address:
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


def test_a_token_is_asked_for(chromium: Any) -> None:
    with serving(BATCHES[0], token="s3cret") as address:
        page = opened(chromium, address)
        expect(page.get_by_label("Token")).to_be_focused()
        expect(page.get_by_role("alert")).to_contain_text("this server requires a token")
        fill(page, Token="wrong", Prompt="", Length=20)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("the token is wrong")
        fill(page, Token="s3cret")
        page.get_by_role("button", name="Write").click()
        expect(page.locator(".status")).to_contain_text("Finished")
        expect(page.get_by_role("alert")).to_be_empty()
        page.close()


@pytest.mark.parametrize("path", ["", "/docs"])
def test_a_phone_s_width_is_enough(chromium: Any, address: str, path: str) -> None:
    page = opened(chromium, address + path, **PHONE)
    if not path:
        write(page, Prompt="ab", Length=100)
        # lines of text are not broken into columns
        lines = (
            page.locator(".text").first.locator("div").evaluate_all("x => x.map((y) => y.getBoundingClientRect().left)")
        )
        assert len(set(lines)) == 1
    else:
        expect(page.locator("article")).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
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
@pytest.mark.parametrize("path", ["", "/docs"])
def test_axe_finds_nothing_serious(chromium: Any, address: str, path: str, scheme: str) -> None:
    page = opened(chromium, address + path, color_scheme=scheme)
    if not path:
        write(page, Prompt="ab", Length=200)
    else:
        expect(page.locator("article")).to_have_count(4)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")
    assert len(found["passes"]) > 10
    assert [
        (each["id"], each["impact"]) for each in found["violations"] if each["impact"] in ("serious", "critical")
    ] == []
    page.close()
