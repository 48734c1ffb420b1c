"""The built pages: no warnings, every public name, and nothing loaded from other hosts."""

import importlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

import hypernetworks as hn
from hypernetworks import analysis, text, vision, weights

from .pages import DOCS, PAGES, ROOT, name, parse

OUTSIDE = re.compile(r"^(https?:)?//")
NOT_FETCHED = {"index", "search", "next", "prev", "canonical", "author", "copyright"}
"""Relations of a <link> that a browser does not load."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build once, because it takes ten seconds; a warning of Sphinx is an error."""
    folder = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_no_code_beside_an_equation_is_cut(chromium, built):
    for width in (390, 1280, 1440, 1920):
        page = chromium.new_page(viewport={"width": width, "height": 900})
        page.goto((built / "mathematics" / "hyper-lstm.html").as_uri())
        boxes = page.locator(".beside pre")
        widths = boxes.evaluate_all("boxes => boxes.map((box) => [box.scrollWidth, box.clientWidth])")
        assert len(widths) > 5
        assert all(needed <= there for needed, there in widths), width
        page.close()


def test_the_pages_as_built(built):
    _fetch_nothing_from_outside(built)
    _draw_equations_by_the_browser_itself(built)
    _draw_an_index_beside_a_letter_with_an_accent(built)
    _state_their_language(built)
    _lead_to_anchors_that_are_there(built)
    _describe_a_group_of_arguments_once(built)
    _are_found_by_chinese_words(built)
    _set_equations_apart(built)


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


def _describe_a_group_of_arguments_once(built):
    """Not once for each argument of the group, as if each were all of them."""
    html = _html(built, "api.md")
    described = re.findall(r"<strong>([^<]*)</strong>(?: \([^)]*\))? [-–]+ I, H and the number of layers", html)
    assert set(described) == {"input_size, hidden_size, num_layers"}


def _are_found_by_chinese_words(built):
    """The terms of the index: pairs of letters, by which the page's script searches, too."""
    index = json.loads((built / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(")[:-1])
    found = index["terms"]["权重"]
    pages = {index["docnames"][number] for number in ([found] if isinstance(found, int) else found)}
    assert pages
    assert all("权重" in (DOCS / f"{page}.md").read_text(encoding="utf-8") for page in pages)
    assert "weight" in index["terms"]
    assert "splitQuery" in (built / "_static" / "language_data.js").read_text(encoding="utf-8")


def _set_equations_apart(built):
    """An equation in a docstring is a block of its own, not words of a sentence."""
    html = _html(built, "api.md")
    equations = re.findall(r"<(p|pre|dd)>[^<]*pre\^y = LN_y|<pre><span></span>(?:<[^>]*>|[^<\n]|\n)*?LN_y", html)
    assert "p" not in equations
    assert len(equations) >= 4


def _things_of_reference() -> list[object]:
    """What the directives of the reference document."""
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    names = re.findall(r"\.\. auto(?:class|function|data|module):: (\S+)", page)
    things = []
    for dotted in names:
        try:
            things.append(importlib.import_module(dotted))
        except ModuleNotFoundError:
            module, _, own = dotted.rpartition(".")
            things.append(getattr(importlib.import_module(module), own))
    return things


@pytest.mark.parametrize("package", [hn, analysis, text, vision, weights], ids=lambda package: package.__name__)
def test_every_public_name_stands_in_the_reference(package):
    documented = _things_of_reference()
    public = {own: getattr(package, own) for own in package.__all__ if own != "__version__"}
    assert [own for own, thing in public.items() if not any(thing is known for known in documented)] == []


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
