"""The page's languages: one table of strings with the same keys, nothing said outside it, a switch that changes everything."""

import re
from functools import partial
from typing import Any

import pytest

from hypernetworks.serve.limits import Limits
from hypernetworks.serve.pages import FOLDER

from .browsing import expect, fill, opened, shown, write
from .clients import serving

TABLE = """async () => {
    const { STRINGS, NAMES } = await import("./strings.js");
    const described = (table) => Object.fromEntries(Object.entries(table).map(([key, each]) => [
        key,
        typeof each === "function" ? each.length : typeof each === "string" ? each : described(each),
    ]));
    return [described(STRINGS.en), described(STRINGS.zh), Object.keys(STRINGS), Object.keys(NAMES)];
}"""


def shape(table: dict[str, Any]) -> dict[str, Any]:
    """The kinds of strings by their keys: fixed, or made from a number of values."""
    return {
        key: shape(each) if isinstance(each, dict) else "fixed" if isinstance(each, str) else each
        for key, each in table.items()
    }


def test_both_languages_have_the_same_strings(page: Any) -> None:
    en, zh, languages, names = page.evaluate(TABLE)
    assert languages == names == ["en", "zh"]
    assert shape(en) == shape(zh)
    assert all(en[key] and zh[key] for key in en)
    same = {key for key in en if isinstance(en[key], str) and en[key] == zh[key]}
    assert same == {"top_k", "top_p", "none"}  # words that Chinese has, too
    strings = [each for each in zh.values() if isinstance(each, str)]
    assert all(
        re.search(r"[\u4e00-\u9fff]", each) for each in strings if each not in ("Top-k", "Top-p", "0 %", "、", "；")
    )


def test_each_string_is_used_and_each_used_string_is_there(page: Any) -> None:
    table = set(page.evaluate(TABLE)[0]) - {"gates"}
    sources = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir() if file.name != "strings.js"}
    assert set(re.findall(r'data-(?:text|label)="(\w+)"', sources["index.html"])) <= table
    code = "".join(sources.values())
    for key in table:
        assert re.search(rf'["`]{re.escape(key)}["`]', code) or key.startswith("end_"), key
    assert {key for key in table if key.startswith("end_")} == {
        f"end_{reason}" for reason in ("length", "time-out", "shutdown", "stopped", "failed")
    }


def test_the_html_says_nothing_itself() -> None:
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    texts = re.findall(r">([^<]*[^\W\d_][^<]*)<", html)
    assert [text.strip() for text in texts] == ["ROMEO:", "JSON", "CSV"]
    assert not re.findall(r'\b(?:aria-label|aria-valuetext|title|placeholder|alt)="', html)


MARKED = """
const marked = (each) =>
  typeof each === "string" ? `⟦${each}⟧`
  : typeof each === "function" ? (...values) => `⟦${each(...values)}⟧`
  : Object.fromEntries(Object.entries(each).map(([key, value]) => [key, marked(value)]));
export const STRINGS = { en: marked(en), zh };
"""

UNMARKED = """() => {
    const found = [];
    const code = "script, style, template", names = "h2, .means .name, #language, .kinds th:nth-child(n + 3), .save button";
    const known = `.text, #read-prompt, textarea, .run-name, ${names}, ${code}`;
    const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement, text = (parent.closest("[data-said]") ?? parent).textContent.trim();
        if (/\\p{Letter}{2}/u.test(text) && !text.includes("⟦") && !parent.closest(known)) found.push(text);
    }
    for (const element of document.querySelectorAll("*"))
        for (const name of ["aria-label", "aria-valuetext", "title", "placeholder", "alt"])
            if (element.hasAttribute(name) && !element.getAttribute(name).includes("⟦"))
                found.push(`${name} of ${element.tagName}`);
    return found;
}"""


def answered(route: Any, answer: dict[str, Any]) -> None:
    route.fulfill(**answer)


def test_no_string_of_the_page_is_outside_the_table(chromium: Any, address: str) -> None:
    """With each string of the table marked, nothing that the page says is without a mark, errors included."""
    page = chromium.new_page(locale="en-US")
    page.set_default_timeout(60_000)
    source = (FOLDER / "strings.js").read_text(encoding="utf-8").replace("export const STRINGS = { en, zh };", MARKED)
    page.route("**/strings.js", lambda route: route.fulfill(body=source, content_type="text/javascript"))
    page.goto(address)
    expect(page.locator("#reading")).to_be_empty()
    assert page.evaluate(UNMARKED) == []
    page.locator("#prompt").fill("ab\nc")
    page.locator("#write").click()
    expect(page.locator(".status").last).to_contain_text("Finished")
    expect(page.locator("#reading")).to_contain_text("Bits")
    for run in (0, 1):
        for k in (0, 2, 4, 9):
            page.locator(".text").nth(run).locator("span").nth(k).hover()
            assert page.evaluate(UNMARKED) == []
    refusals: list[dict[str, Any]] = [
        {"status": status, "content_type": "application/json", "body": '{"detail": "⟦said by the server"}'}
        for status in (401, 422, 429, 503)
    ]
    for refusal in refusals:
        page.unroute("**/api/generate")
        page.route("**/api/generate", partial(answered, answer=refusal))
        page.locator("#write").click()
        expect(page.get_by_role("alert")).to_contain_text("⟦")
        assert page.evaluate(UNMARKED) == []
    page.unroute("**/api/generate")
    page.route("**/api/generate", lambda route: route.abort())
    page.locator("#write").click()
    expect(page.get_by_role("alert")).to_contain_text("Cannot reach the server")
    page.locator("#prompt").fill("xyz")
    page.locator("#write").click()
    expect(page.get_by_role("alert")).to_contain_text("trained on a text without")
    assert page.evaluate(UNMARKED) == []
    page.close()


@pytest.mark.parametrize(
    ("locale", "address_says", "language"),
    [
        ("en-GB", "", "en"),
        ("zh-CN", "", "zh"),
        ("zh-Hant-TW", "", "zh"),
        ("fr-FR", "", "en"),
        ("zh-CN", "#language=en", "en"),
        ("en-GB", "#language=zh&seed=3", "zh"),
        ("en-GB", "#language=xx", "en"),
    ],
)
def test_the_address_and_then_the_browser_choose_the_language(
    chromium: Any, address: str, locale: str, address_says: str, language: str
) -> None:
    page = opened(chromium, f"{address}/{address_says}", locale=locale)
    expect(page.locator("html")).to_have_attribute("lang", language)
    expect(page.locator("#language")).to_have_value(language)
    expect(page.locator("#write")).to_have_text({"en": "Write", "zh": "开始写"}[language])
    expect(page).to_have_title(re.compile({"en": "^Weights that change", "zh": "^随每个字符变化的权重$"}[language]))
    page.close()


def test_a_switch_changes_everything_and_keeps_the_texts(page: Any) -> None:
    write(page, Prompt="ab c", Length=1500, Seed=3)
    before = shown(page, 0)
    page.locator(".text").first.locator("span").nth(3).hover()
    page.get_by_label("Language").select_option("中文")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.locator(".status").first).to_have_text(re.compile(r"^完成：1,500 个字符，用时 \d+\.\d 秒$"))
    expect(page.locator(".change").first).to_have_text(re.compile(r"^4：读入 空格，应为 c；权重的变化：i \S+ %、f "))
    expect(page.locator(".change").last).to_have_text("指向一个字符，或使用方向键：上方会显示它的那一步。")
    expect(page.locator("#reading")).to_have_text(re.compile(r"^预测这段文字平均每个字符所需的比特数"))
    expect(page.locator(".rows .name").first).to_have_text("输入门 i")
    expect(page.locator(".read")).to_have_text("空格")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", "第 4 个，共 1504 个：c")
    expect(page.locator("#gate option").nth(1)).to_have_text("输入门 i")
    expect(page.locator(".kinds td").first).to_have_text("词首字母")
    expect(page.get_by_label("当前字符的一步")).to_be_visible()
    assert shown(page, 0) == before
    assert "language=zh" in page.url
    said = page.locator("[data-said]:visible:not(.text, select, form)").all_text_contents()
    words = [
        each
        for each in said
        if re.search(r"[A-Za-z]{4,}", re.sub(r"LSTM|lstm|layer|norm|hyper|Ctrl|Enter|run2?", "", each))
    ]
    assert words == []
    page.get_by_label("语言").select_option("English")
    expect(page.locator(".status").first).to_have_text(re.compile("^Finished: 1,500 characters"))
    expect(page.locator("#gate option").nth(1)).to_have_text("input gate i")


def test_errors_are_in_the_language(chromium: Any, batches: tuple[Any, Any]) -> None:
    with serving(batches[0], token="s3cret", limits=Limits(max_length=300)) as address:
        page = opened(chromium, f"{address}/#language=zh")
        alert = page.get_by_role("alert")
        expect(alert).to_have_text("此服务器需要令牌：请在下面输入，然后点击“开始写”。")
        fill(page, 令牌="wrong")
        page.get_by_role("button", name="开始写").click()
        expect(alert).to_have_text("令牌不正确：应为启动服务器时所设的令牌。")
        fill(page, 令牌="s3cret", 开头="xa")
        page.get_by_role("button", name="开始写").click()
        expect(alert).to_have_text("run 的训练文本中没有“x”（第 1 个字符）：请修改开头。")
        fill(page, 开头="a")
        page.get_by_role("button", name="开始写").click()
        expect(page.locator(".status")).to_contain_text("完成：300 个字符")
        expect(alert).to_be_empty()
        assert page.errors == []
        page.close()
