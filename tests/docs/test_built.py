"""The built pages: no warnings, nothing cut, nothing loaded from other hosts."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from .pages import DOCS, PAGES, ROOT, name, parse

pytestmark = pytest.mark.timeout(900)  # the first test of a process builds the pages

OUTSIDE = re.compile(r"^(https?:)?//")
NOT_FETCHED = {"index", "search", "next", "prev", "canonical", "author", "copyright"}
"""Relations of a <link> that a browser does not load."""


def test_no_code_and_no_table_is_cut(chromium, built):
    """On all pages but those of the reference, which are alike: of these, the networks'."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.route("**/*.js", lambda route: route.abort())  # only the style matters
    paths = [path for path in built.rglob("*.html") if not {"api", "_modules"} & {*path.parts}]
    boxes = 0
    for path in [*paths, *(built / "api").glob("hypernetworks.Hyper*.html")]:
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        found = page.locator("article pre, .beside .equation, article .table-wrapper")
        widths = found.evaluate_all("boxes => boxes.map((box) => [box.scrollWidth, box.clientWidth])")
        boxes += len(widths)
        assert all(needed <= there for needed, there in widths), path.name
    assert boxes > 300
    page.goto((built / "mathematics" / "hyper-lstm.html").as_uri())
    for width in (390, 1440, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        widths = page.locator(".beside pre").evaluate_all("boxes => boxes.map((b) => [b.scrollWidth, b.clientWidth])")
        assert len(widths) > 5
        assert all(needed <= there for needed, there in widths), width
    page.close()


def test_a_button_copies_the_code(chromium, built):
    page = chromium.new_page()
    page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.copied = text; }}})"
    )
    page.goto((built / "api" / "hypernetworks.HyperLSTM.html").as_uri())
    session = page.locator("div.highlight", has_text=">>> rnn").first
    session.hover()
    session.get_by_role("button", name="Copy").click()
    assert page.evaluate("copied").splitlines() == [
        "rnn = hn.HyperLSTM(10, 20, hyper_size=8)",
        "output, state = rnn(torch.randn(5, 3, 10))",
        "output.shape",
    ]
    assert session.get_by_role("button").inner_text() == "Copied"
    page.goto((built / "zh" / "start.html").as_uri())
    command = page.locator("div.highlight", has_text="hypernetworks text train").first
    command.hover()
    command.get_by_role("button", name="复制").click()
    assert page.evaluate("copied") == "hypernetworks text train --preset demo --steps 100 --out runs/first"
    page.close()


def test_the_pages_as_built(built):
    _fetch_nothing_from_outside(built)
    _draw_equations_by_the_browser_itself(built)
    _draw_an_index_beside_a_letter_with_an_accent(built)
    _state_their_language(built)
    _lead_to_anchors_that_are_there(built)
    _are_found_by_chinese_words(built)
    _have_navigation_in_their_language(built)
    _show_equations_next_to_what_computes_them(built)


class Fetched(HTMLParser):
    """Collects what a browser loads to show a page."""

    def __init__(self):
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = {key: value or "" for key, value in attrs}
        if tag == "link" and set(given.get("rel", "").split()) <= NOT_FETCHED:
            return
        if tag == "link":
            self.addresses.append(given.get("href", ""))
        self.addresses += [given[key] for key in ("src", "srcset", "poster", "data") if key in given]


def test_what_a_page_fetches_is_found():
    reader = Fetched()
    reader.feed(
        '<script src="https://a.b/c.js"></script><link rel="preload stylesheet" href="//a.b/c.css"><img src="d.svg">'
    )
    reader.feed('<link rel="next" href="https://a.b/page.html"><a href="https://a.b">no more than a link</a>')
    assert reader.addresses == ["https://a.b/c.js", "//a.b/c.css", "d.svg"]
    assert [bool(OUTSIDE.match(address)) for address in reader.addresses] == [True, True, False]


def _fetch_nothing_from_outside(built):
    pages = list(built.rglob("*.html"))
    assert len(pages) > 20
    seen = 0
    for page in pages:
        reader = Fetched()
        reader.feed(page.read_text(encoding="utf-8"))
        seen += len(reader.addresses)
        assert not [address for address in reader.addresses if OUTSIDE.match(address)], page.name
    assert seen > 100
    for sheet in built.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


def _html(built, page):
    return (built / page).with_suffix(".html").read_text(encoding="utf-8")


def _draw_equations_by_the_browser_itself(built):
    for page in [*(DOCS / "mathematics").glob("*.md"), *(DOCS / "zh" / "mathematics").glob("*.md")]:
        html = _html(built, page.relative_to(DOCS))
        shown = page.read_text(encoding="utf-8").count("$$") // 2
        assert len(re.findall(r'<math [^>]*display="block"', html)) == shown, name(page)
        assert len(re.findall(r"<math ", html)) > shown
        assert "MathJax" not in html


def _draw_an_index_beside_a_letter_with_an_accent(built):
    """The work of the extension: docutils alone would place the index below the letter."""
    flat = re.sub(r">\s+<", "><", _html(built, "mathematics/hyper-lstm.md"))
    assert '<msub><mover accent="true"><mi>h</mi>' in flat
    assert "<munderover><mi>" not in flat


def _state_their_language(built):
    assert re.search(r'<html [^>]*lang="zh-CN"', _html(built, "zh/start.md"))
    assert re.search(r'<html [^>]*lang="en"', _html(built, "start.md"))


def _lead_to_anchors_that_are_there(built):
    """From the docs' own words and from the source pages back to the reference, whose names Sphinx does not check."""
    pages = {page: page.read_text(encoding="utf-8") for page in built.rglob("*.html")}
    anchors = {page.resolve(): set(re.findall(r'\sid="([^"]+)"', html)) for page, html in pages.items()}
    dead = [
        f"{page.relative_to(built)}: {target}"
        for page, html in pages.items()
        for target in set(re.findall(r'href="([^":]*#[^"]+)"', html))
        for path, _, anchor in [target.partition("#")]
        if unquote(anchor)
        not in anchors.get((page.parent / path).resolve() if path else page.resolve(), {unquote(anchor)})
    ]
    assert dead == []


def _are_found_by_chinese_words(built):
    """The terms of the index: pairs of letters, by which the page's script searches, too."""
    index = json.loads((built / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(")[:-1])
    found = index["terms"]["权重"]
    pages = {index["docnames"][number] for number in ([found] if isinstance(found, int) else found)}
    assert pages
    assert all("权重" in _html(built, f"{page}.md") for page in pages)  # an index shows the titles of other pages
    assert "weight" in index["terms"]
    assert "splitQuery" in (built / "_static" / "language_data.js").read_text(encoding="utf-8")


def _navigation(html):
    return re.search(r'<div class="sidebar-tree">.*?</div>', html, re.DOTALL)[0]


def _have_navigation_in_their_language(built):
    chinese, english = _navigation(_html(built, "zh/start.md")), _navigation(_html(built, "start.md"))
    assert "操作指南" in chinese
    assert "How-to guides" not in chinese
    assert ">English</a>" in chinese
    assert ">中文</a>" in english
    assert "操作指南" not in english
    assert "上一页" in _html(built, "zh/start.md")


def _show_equations_next_to_what_computes_them(built):
    """Without signatures and docstrings, and broken at 72 columns; an equation in a comment may be longer."""
    for page in (DOCS / "mathematics").glob("*.md"):
        html = _html(built, page.relative_to(DOCS))
        boxes = re.findall(r'<div class="literal-block-wrapper.*?<pre>(.*?)</pre>', html, re.DOTALL)
        assert len(boxes) == page.read_text(encoding="utf-8").count("{equation-code}"), name(page)
        for box in boxes:
            lines = unescape(re.sub("<[^>]*>", "", box)).splitlines()
            assert not lines[0].startswith("def "), name(page)
            assert '"""' not in box
            assert all(len(line) <= 72 for line in lines if not line.lstrip().startswith("#")), name(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page):
    """Sphinx checks the links between pages; this test includes the README's."""
    for token in parse(page.read_text(encoding="utf-8")):
        for child in token.children or []:
            target = child.attrGet("href") or child.attrGet("src") or ""
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), f"{name(page)}: {target}"


def test_pages_are_found():
    assert ROOT / "README.md" in PAGES
    assert DOCS / "how-to" / "speed.md" in PAGES
