"""The Chinese pages have the same headings, code and equations as the English ones, and translate their current text."""

import re

import pytest

from .pages import DOCS, ROOT, name, prose
from .translation import PAIRS, sections, stamp

TERMS = DOCS / "zh" / "terms.md"
ENGLISH_ALONE = {"docs/api.md", "docs/results.md", "docs/development/log.md"}

pairs = pytest.mark.parametrize(("chinese", "english"), PAIRS.items(), ids=[name(page) for page in PAIRS])


def _outdated(chinese, english):
    """The English sections that have changed since the translation, or were never translated."""
    both = zip(sections(chinese), sections(english), strict=True)
    return [ours.title for theirs, ours in both if theirs.stamp != ours.digest]


@pairs
def test_headings_have_the_same_levels(chinese, english):
    assert [each.level for each in sections(chinese)] == [each.level for each in sections(english)]


@pairs
def test_code_and_equations_are_the_same(chinese, english):
    for theirs, ours in zip(sections(chinese), sections(english), strict=True):
        where = f"{name(chinese)}, {theirs.title!r}"
        assert theirs.code == ours.code, where
        assert theirs.equations == ours.equations, where


@pairs
def test_it_was_made_from_the_english_text_that_is_there_now(chinese, english):
    outdated = _outdated(chinese, english)
    how = "translate the change, then run: python -m tests.docs.translation"
    assert not outdated, f"{name(english)} has changed in {outdated}; {name(chinese)}: {how}"


@pairs
def test_each_leads_to_the_other(chinese, english):
    assert "](" in sections(chinese)[0].text
    assert "English" in sections(chinese)[0].text
    assert "简体中文" in sections(english)[0].text


def test_every_page_is_there_in_chinese():
    """But those that are listed as in English alone."""
    english = {page for page in DOCS.rglob("*.md") if DOCS / "zh" not in page.parents}
    assert len(english) > 40
    assert {name(page) for page in english - {*PAIRS.values()}} == ENGLISH_ALONE


def test_one_term_stands_for_each_thing():
    """The table of terms lists what is not said instead."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", TERMS.read_text(encoding="utf-8"), re.MULTILINE)[2:]
    assert len(rows) > 30
    assert len({term for term, _, _ in rows}) == len(rows)
    others = [other for _, _, row in rows for other in row.split("、") if other]
    assert len(others) > 8
    for page in PAIRS:
        words = prose(page.read_text(encoding="utf-8"))
        assert [other for other in others if other in words] == [], name(page)
    everything = "".join(page.read_text(encoding="utf-8") for page in PAIRS)
    assert [term for row, _, _ in rows for term in row.split("、") if term not in everything] == []


def test_chinese_pages_lead_to_chinese_ones():
    """Where there is one."""
    for page in PAIRS:
        text = page.read_text(encoding="utf-8")
        for label, target in re.findall(r"\[([^\]]+)\]\(([^)#:]+\.md)(?:#[^)]*)?\)", text):
            there = (page.parent / target).resolve()
            if label != "English" and there in PAIRS.values():
                chinese = next(own for own, english in PAIRS.items() if english == there)
                raise AssertionError(f"{name(page)}: [{label}] leads to {name(there)} instead of {name(chinese)}")


def test_a_change_of_the_english_is_found_and_named(tmp_path):
    """Detects one changed word in one section, and a stamp that was never set."""
    english, chinese = tmp_path / "en.md", tmp_path / "zh.md"
    english.write_text("# Title\n\nText.\n\n## Part\n\nA word.\n")
    chinese.write_text("# 标题\n\n文字。\n\n## 部分\n\n一个词。\n")
    assert _outdated(chinese, english) == ["Title", "Part"]
    stamp(chinese, english)
    assert _outdated(chinese, english) == []
    stamp(chinese, english)
    assert chinese.read_text().count("<!--") == 2
    english.write_text(english.read_text().replace("A word", "Another word"))
    assert _outdated(chinese, english) == ["Part"]


def test_comments_may_be_translated_and_code_not(tmp_path):
    def section(code):
        page = tmp_path / "page.md"
        page.write_text(f"# Title\n\n```python\n{code}\n```\n")
        return sections(page)[0]

    assert section("x = 1  # one").code == section("x = 1  # 一").code
    assert section("x = '# one'").code != section("x = '# 一'").code
    assert section("x = 1").code != section("x = 2").code


def test_equations_are_read():
    ours = sections(DOCS / "mathematics" / "hyper-lstm.md")
    shown, inline = ours[4].equations
    assert shown == [r"z_a^y = P_a^y {\hat h}_t + p_a^y"]
    assert inline == {"Z": 1, "p": 1, "a = b": 1}
    assert not sections(ROOT / "README.md")[0].equations[0]
