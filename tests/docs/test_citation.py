"""What the page on citing says is what CITATION.cff says."""

import re

import pytest

import hypernetworks as hn

from .pages import DOCS, ROOT, blocks

yaml = pytest.importorskip("yaml")


def _entries() -> dict[str, dict[str, str]]:
    """The fields of each entry, by its key."""
    found = {}
    for block in blocks(DOCS / "cite.md"):
        assert block.language == "bibtex"
        key = re.match(r"@misc\{(\w+),\n", block.text)
        assert key
        assert block.text.count("{") == block.text.count("}")
        found[key[1]] = dict(re.findall(r"^  (\w+) *= \{(.*)\},?$", block.text, re.MULTILINE))
    return found


def test_the_library_has_its_version():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    ours = _entries()["hypernetworks"]
    assert ours["note"] == f"Version {hn.__version__}"
    assert ours["title"].startswith(cff["title"])
    assert ours["author"] == "{" + cff["authors"][0]["name"] + "}"


def test_the_paper_is_that_of_the_citation_file():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    paper = _entries()["ha2016hypernetworks"]
    names = [f"{author['family-names']}, {author['given-names']}" for author in cff["authors"]]
    assert paper["author"] == " and ".join(names)
    assert (paper["title"], paper["year"]) == (cff["title"], str(cff["year"]))
    assert f"arXiv:{paper['eprint']}" == cff["identifiers"][0]["value"]
