"""The reference: a page for each public name, found from its table and from the prose."""

import importlib
import re
from collections import Counter

import pytest

import hypernetworks as hn
from hypernetworks import analysis, interop, jax, strokes, text, vision, weights

from .pages import DOCS

pytestmark = pytest.mark.timeout(900)  # the first test of a process builds the pages

PACKAGES = [hn, analysis, interop, jax, text, vision, strokes, weights]


def _listed() -> list[str]:
    """The names in the tables, in full."""
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\.\. autosummary::\n(?:   :.*\n)*\n((?:   \S+\n)+)", page, re.MULTILINE)
    return [f"hypernetworks.{name}" for table in tables for name in table.split()]


def _thing(name: str) -> object:
    module, _, own = name.rpartition(".")
    return getattr(importlib.import_module(module), own)


def _page(built, name: str):
    file = {"hypernetworks.trace": "hypernetworks.trace-function"}.get(name, name)
    return built / "api" / f"{file}.html"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_listed(package):
    things = [_thing(name) for name in _listed()]
    public = {own: getattr(package, own) for own in package.__all__ if own not in ("__version__", "interop")}
    assert [own for own, thing in public.items() if not any(thing is known for known in things)] == []


def test_each_name_is_listed_once():
    assert [name for name, count in Counter(_listed()).items() if count > 1] == []


@pytest.mark.parametrize("name", [name for name in _listed() if isinstance(_thing(name), type)])
def test_each_class_has_an_example(name):
    """tests/test_docstrings.py runs them."""
    assert ">>>" in (_thing(name).__doc__ or "")


def test_each_name_has_a_page(built):
    for name in _listed():
        html = _page(built, name).read_text(encoding="utf-8")
        assert f'id="{name}"' in html, name
        assert '<a class="reference internal" href="../api.html">' in html
    files = Counter(path.name.lower() for path in (built / "api").glob("*.html"))
    assert files.total() == len(_listed())
    assert max(files.values()) == 1  # else one would replace the other where file names have no case


def test_signatures_have_types(built):
    html = _page(built, "hypernetworks.HyperLSTM").read_text(encoding="utf-8")
    signature = re.sub("<[^>]*>", "", re.search(r'<dt[^>]*id="hypernetworks.HyperLSTM">.*?</dt>', html, re.DOTALL)[0])
    assert "hyper_size: int = 128" in signature
    settings = _page(built, "hypernetworks.text.TextConfig").read_text(encoding="utf-8")
    assert "~hypernetworks" not in settings
    assert "Type:" not in settings


def test_prose_leads_to_the_reference(built):
    for page in ("how-to/generate.html", "zh/start.html", "start.html"):
        html = (built / page).read_text(encoding="utf-8")
        article = re.search(r"<article.*</article>", html, re.DOTALL)[0]
        named = re.findall(
            r'<code class="docutils literal notranslate"><span class="pre">hn\.(\w+)</span></code>', article
        )
        linked = re.findall(r'<a class="reference internal" href="\.*/?api/hypernetworks\.(\w+)\.html#', article)
        assert set(named) <= set(linked), page
    assert "HyperNetwork" in linked


def _all_pages(built) -> str:
    pages = sorted((built / "api").glob("*.html"))
    return "\n".join(path.read_text(encoding="utf-8") for path in pages)


def test_a_group_of_arguments_is_described_once(built):
    """Not once for each argument of the group, as if each were all of them."""
    described = re.findall(
        r"<strong>([^<]*)</strong>(?: \([^)]*\))? [-–]+ I, H and the number of layers", _all_pages(built)
    )
    assert set(described) == {"input_size, hidden_size, num_layers"}


def test_equations_are_set_apart(built):
    """An equation in a docstring is a block of its own, not words of a sentence."""
    equations = re.findall(
        r"<(p|pre|dd)>[^<]*pre\^y = LN_y|<pre><span></span>(?:<[^>]*>|[^<\n]|\n)*?LN_y", _all_pages(built)
    )
    assert "p" not in equations
    assert len(equations) >= 4
