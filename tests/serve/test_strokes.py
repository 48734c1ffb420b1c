"""The server of drawings: what it answers, what it refuses, and its page in Chromium."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from hypernetworks import cli
from hypernetworks.serve.limits import DrawingLimits
from hypernetworks.serve.pages import KINDS, STROKES_FOLDER, STROKES_PAGE
from hypernetworks.serve.server import names
from hypernetworks.serve.strokes_api import Artist, make_app
from hypernetworks.strokes.generate import Sampling, draw
from hypernetworks.strokes.model import StrokeModel, StrokeModelConfig
from hypernetworks.strokes.own_strokes import beginning_of

from .clients import serving_app

CROSS = [[[20, 50], [80, 50]], [[50, 20], [50, 80]]]
SIZE, SCALE = 40.0, 6.0


def artist(network: str = "hyper-lstm") -> Artist:
    torch.manual_seed(3)
    model = StrokeModel(StrokeModelConfig(network, hidden_size=8, hyper_size=4, hyper_embedding_size=2, mixtures=2))
    return Artist("a run", model, SCALE, SIZE, "© <b>somebody</b>")


@contextmanager
def serving(made: Artist, limits: DrawingLimits | None = None, token: str | None = None) -> Iterator[str]:
    limits = limits or DrawingLimits(longest=40)
    app = make_app(made, limits, names("127.0.0.1", ()), token)
    with serving_app(app, lambda: None, limits) as address:
        yield address


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(artist()) as address:
        yield address


def asked(address: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{address}/api/draw", json=body, timeout=60)


def test_the_answer_is_the_drawing_of_the_model(address: str) -> None:
    import numpy as np

    answer = asked(address, strokes=CROSS, seed=4, temperature=0.7).json()
    beginning = beginning_of([np.array(stroke, dtype=float) for stroke in CROSS], 100, SIZE, False)
    (drawn,) = draw(artist().model.eval(), Sampling(1, 0.7, 40, 4), SCALE, beginning)
    places = (drawn.offsets.double().cumsum(0) / SIZE + 0.5) * 100
    points = answer["points"]
    assert [[point["x"], point["y"]] for point in points] == [[round(x, 2), round(y, 2)] for x, y in places.tolist()]
    assert [point["lifted"] for point in points] == drawn.lifted.tolist()
    assert (answer["given"], answer["ended"]) == (4, drawn.ended)
    assert [[point["x"], point["y"]] for point in points[:4]] == [[20, 50], [80, 50], [50, 20], [50, 80]]
    assert [point["change"] for point in points[:4]] == [None] * 4
    expected = drawn.changes.mean(dim=1)[4:].tolist()
    assert [point["change"] for point in points[4:]] == pytest.approx(expected, rel=1e-3)
    assert asked(address, strokes=CROSS, seed=4, temperature=0.7).json() == answer


def test_a_stroke_may_be_continued_and_nothing_may_be_given(address: str) -> None:
    continued = asked(address, strokes=CROSS, unfinished=True).json()
    assert [point["lifted"] for point in continued["points"][:4]] == [False, True, False, False]
    assert asked(address).json()["given"] == 0


def test_a_network_with_fixed_weights_has_no_changes() -> None:
    with serving(artist("lstm")) as plain:
        assert httpx.get(f"{plain}/api/about").json()["moves"] is False
        assert {point["change"] for point in asked(plain, strokes=CROSS).json()["points"]} == {None}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ('{"strokes": [[]]}', "strokes 0: list should have at least 1 item after validation, not 0, got []"),
        ('{"strokes": [[[1]]]}', "strokes 0 0"),
        ('{"strokes": [[[1, "a"]]]}', "strokes 0 0 1: input should be a valid number"),
        ('{"strokes": [[[1, NaN]]]}', "strokes 0 0 1: input should be"),
        ('{"strokes": [[[1, 1e9]]]}', "strokes 0 0 1: input should be less than or equal to 1000"),
        ('{"temperature": -1}', "temperature: input should be greater than or equal to 0, got -1"),
        ('{"seed": 1e20}', "seed: "),
        ('{"colour": 1}', "colour: extra inputs are not permitted, got 1"),
        ("{", "the body is not JSON"),
    ],
)
def test_bad_input_is_one_sentence(address: str, body: str, sentence: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{address}/api/draw", content=body, headers=headers)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


def test_what_is_not_for_this_server_is_refused(address: str) -> None:
    assert httpx.post(f"{address}/api/draw", content="{}").status_code == 415
    assert httpx.get(f"{address}/", headers={"Host": "elsewhere.example"}).status_code == 400
    other = {"Origin": "http://elsewhere.example"}
    assert httpx.post(f"{address}/api/draw", json={}, headers=other).status_code == 403
    long = [[[1, 1]] * 2000] * 100
    assert asked(address, strokes=long).status_code == 413
    with serving(artist(), token="s3cret") as guarded:
        assert asked(guarded).status_code == 401
        assert httpx.get(f"{guarded}/api/about").status_code == 401
        right = {"Authorization": "Bearer s3cret"}
        assert httpx.post(f"{guarded}/api/draw", json={}, headers=right, timeout=60).status_code == 200


def test_more_than_the_queue_is_refused() -> None:
    with serving(artist(), DrawingLimits(longest=40, queue=0)) as narrow, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda seed: asked(narrow, seed=seed), range(12)))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 429}
    assert 200 in statuses
    for answer in answers:
        if answer.status_code == 429:
            assert re.fullmatch(r"\d+ drawings are waited for: try again soon", answer.json()["detail"])
            assert answer.headers["Retry-After"] == "1"


def test_pages_need_nothing_from_elsewhere(address: str) -> None:
    for path, file in STROKES_PAGE.items():
        answer = httpx.get(address + path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(KINDS[file.name.rpartition(".")[2]])
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        links = re.findall(r"https?://[\w./]+", answer.text)
        assert set(links) <= {"http://www.w3.org/2000/svg"}


def test_both_languages_have_the_same_strings_and_the_html_says_nothing_itself() -> None:
    source = (STROKES_FOLDER / "strings.js").read_text(encoding="utf-8")
    tables = [re.findall(r"^  (\w+):", part, re.MULTILINE) for part in source.split("const zh")]
    assert tables[0] == tables[1]
    html = (STROKES_FOLDER / "index.html").read_text(encoding="utf-8")
    assert not [text for text in re.findall(r">([^<]*[^\W\d_][^<]*)<", html) if text.strip()]
    assert set(re.findall(r'data-(?:text|label)="(\w+)"', html)) <= set(tables[0])


def test_the_command_refuses_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["strokes", "serve", str(tmp_path)]) == 2
    assert "not a run's folder" in capsys.readouterr().err
    assert cli.main(["strokes", "serve", str(tmp_path), "--port", "99999"]) == 2
    assert "port should be between 0 (any free port) and 65535, got 99999" in capsys.readouterr().err


# The page.


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    made = chromium.new_page(locale="en-US", reduced_motion="reduce")
    made.set_default_timeout(60_000)
    errors: list[str] = []
    asked_for: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("request", lambda request: asked_for.append(request.url))
    made.goto(address)
    yield made
    assert errors == []
    assert all(url.startswith((address, "data:")) for url in asked_for)
    made.close()


def expect(locator: Any) -> Any:
    from playwright.sync_api import expect as expecting

    return expecting(locator)


def drag(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    box = page.locator("#paper").bounding_box()

    def at(x: int, y: int) -> tuple[float, float]:
        return box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100

    page.mouse.move(*at(*start))
    page.mouse.down()
    page.mouse.move(*at(*end), steps=4)
    page.mouse.up()


def test_a_drawing_is_begun_by_mouse_and_finished_by_the_model(page: Any) -> None:
    drag(page, (20, 50), (80, 50))
    drag(page, (50, 20), (50, 80))
    assert page.locator("#ink .given").count() == 2
    with page.expect_request("**/api/draw") as request:
        page.get_by_role("button", name="Finish").click()
    strokes = json.loads(request.value.post_data)["strokes"]
    assert [stroke[0] for stroke in strokes] == [pytest.approx([20, 50], abs=1), pytest.approx([50, 20], abs=1)]
    expect(page.locator("#status")).to_contain_text("The model added")
    assert page.locator("#ink path:not(.given)").count() > 0
    assert "color-mix" in page.locator("#ink path:not(.given)").last.get_attribute("style")
    saved = page.locator("#save").get_attribute("href")
    assert saved.startswith("data:image/svg+xml,")
    assert "%3Cb%3Esomebody" not in saved  # the attribution stays text
    page.get_by_role("button", name="Undo stroke").click()
    assert page.locator("#ink path").count() == 1
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#ink path").count() == 0
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()


def test_all_of_it_works_by_keyboard(page: Any) -> None:
    page.locator("#paper").focus()
    for key in ("ArrowLeft", "ArrowLeft", "Space", "ArrowRight", "ArrowRight", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert page.locator("#ink .given").get_attribute("d") == "M42.0 50.0L46.0 50.0L50.0 50.0L50.0 54.0"
    with page.expect_request("**/api/draw"):
        page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("The model added")
    page.keyboard.press("Backspace")
    assert page.locator("#ink path").count() == 0


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": 429, "headers": {"Retry-After": "7"}, "json": {"detail": "full"}}, "Try again in 7 s"),
        ({"status": 401, "json": {"detail": "no"}}, "requires a token"),
        ({"status": 422, "json": {"detail": "<img src=x>"}}, "refused the request: <img src=x>"),
        (None, "cannot be reached"),
    ],
)
def test_a_refusal_is_a_sentence_and_the_drawing_stays(page: Any, answer: dict[str, Any] | None, sentence: str) -> None:
    drag(page, (20, 50), (80, 50))
    page.route("**/api/draw", lambda route: route.abort() if answer is None else route.fulfill(**answer))
    page.get_by_role("button", name="Finish").click()
    expect(page.locator("#problem")).to_contain_text(sentence)
    assert page.locator("#ink .given").count() == 1
    assert page.locator("img").count() == 0
    expect(page.locator("#token-field")).to_be_visible(visible=answer is not None and answer["status"] == 401)


def test_the_page_speaks_chinese(chromium: Any, address: str) -> None:
    page = chromium.new_page(locale="zh-CN")
    page.goto(address)
    expect(page.locator("h1")).to_have_text("让网络写完你的字")
    page.locator("#language").select_option("en")
    expect(page.locator("h1")).to_have_text("A network finishes your character")
    expect(page.locator(".lead")).to_contain_text("lines are orange where they changed strongly")
    expect(page.locator(".legend")).to_have_text(re.compile(r"weights change by 0 %\s+\d+ % and more"))
    page.close()


@pytest.mark.parametrize("width", [320, 768, 1920])
def test_nothing_is_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#paper").bounding_box()["width"] > 0.4 * min(width, 800)


def test_axe_finds_nothing(page: Any) -> None:
    axe = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core is not installed (npm install axe-core)")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(axe.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
