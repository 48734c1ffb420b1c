"""The pages of zh/ as Chinese pages: their language, their own navigation, and the words of the theme."""

from typing import Any

from sphinx.application import Sphinx

WORDS = {
    "Search": "搜索",
    "On this page": "本页内容",
    "Next": "下一页",
    "Previous": "上一页",
    "Home": "首页",
    "Back to top": "回到顶部",
    "Skip to content": "跳到正文",
    "View this page": "查看源文件",
    "Index": "索引",
}
"""What furo's templates say, by sphinx's names of the texts."""


def translated(text: str) -> str:
    """The text in Chinese if it is in the table, else as it is."""
    return WORDS.get(text.strip(), text)


ENTRY = ">中文</a>"
"""The entry of the Chinese pages in furo's navigation, which is the last one."""


def own_navigation(navigation: str, english: str) -> str:
    """The Chinese pages of furo's navigation, and a link to the English ones."""
    _, _, below = navigation.partition(ENTRY)
    pages = below[below.index("<ul") : below.rindex("</ul>")].strip().removesuffix("</li>").removesuffix("</ul>")
    link = f'<li class="toctree-l2"><a class="reference internal" href="{english}">English</a></li>'
    return pages.replace("Toggle navigation of ", "展开或收起：") + f"{link}</ul>"


def without_chinese(navigation: str) -> str:
    """Furo's navigation with one entry for all Chinese pages."""
    above, entry, _ = navigation.partition(ENTRY)
    return f"{above}{entry}</li></ul>"


def set_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give a page what depends on its language. Browsers choose fonts, and screen readers voices, by the attribute lang."""
    navigation = context.get("furo_navigation_tree")
    if not navigation:
        return
    if page.startswith("zh/"):
        context["language"] = "zh-CN"
        context["_"] = context["gettext"] = translated
        context["furo_navigation_tree"] = own_navigation(navigation, context["pathto"]("index"))
        context["master_doc"] = "zh/index"  # where the name above the navigation leads
    else:
        context["furo_navigation_tree"] = without_chinese(navigation)
    if page == "zh/index":
        context["prev"] = None  # the last English page


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the handler; Sphinx calls this function."""
    app.connect("html-page-context", set_language, priority=900)  # after furo's
    return {"parallel_read_safe": True, "parallel_write_safe": True}
