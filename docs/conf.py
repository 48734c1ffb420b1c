"""Sphinx settings: `make docs` builds these pages, and a warning fails the build."""

import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "hypernetworks"
author = "The hypernetworks authors"
version = release = installed_version("hypernetworks")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "diagrams",
    "offline_mathematics",
    "chinese_search",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"  # MathJax would be fetched from outside
html_theme = "furo"
html_title = "hypernetworks"
html_show_copyright = False
smartquotes = False  # keep "paper" in code and equations as it is typed
html_static_path = ["_static"]
html_css_files = ["pages.css"]

default_role = "py:obj"  # a `name` in a docstring is code, and links to its entry if there is one
autodoc_member_order = "bysource"
napoleon_use_param = (
    False  # else a group such as "a, b: …" becomes one entry for each, all with the description of the group
)
autodoc_typehints = "none"  # the docstrings state shapes and units
autodoc_default_options = {"show-inheritance": True}


def set_language(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Mark the pages of zh/ as Chinese: browsers choose fonts, and screen readers voices, by the language."""
    if page.startswith("zh/"):
        context["language"] = "zh-CN"


def mark_examples(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put a `::` before each indented paragraph of a docstring, so that Sphinx shows it as code or as an equation.

    The code of an example, whose heading napoleon makes, is indented once more below its `::`.
    """
    marked: list[str] = []
    is_example = False
    for before, line in zip(["", *lines], lines, strict=False):
        if before == "Example:" and not line.lstrip().startswith(">>>"):
            is_example = True
            marked += ["    ::", ""]
        elif line and not line.startswith("    "):
            is_example = False
        if is_example:
            marked.append(f"    {line}" if line else line)
            continue
        above = next((text for text in reversed(marked) if text), "")
        if line.startswith("    ") and not before and not above.startswith("    ") and not above.endswith("::"):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


def mend_links_to_reference(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give the links from the pages of the source to the reference the names that are documented.

    viewcode assumes that all names of a module are documented under one name of the module, that of the first one.
    """
    documented = app.env.domains["py"].objects
    module = page.removeprefix("_modules/").replace("/", ".")

    def mended(link: re.Match[str]) -> str:
        own = f"{module}.{link[2].rpartition('.')[2]}"
        return f'href="{link[1]}#{own}"' if link[2] not in documented and own in documented else link[0]

    if page.startswith("_modules/"):
        context["body"] = re.sub(r'href="([^"#]+)#([\w.]+)"', mended, context["body"])


def setup(app: Sphinx) -> None:
    """Connect the handlers; Sphinx calls this function."""
    app.connect("autodoc-process-docstring", mark_examples, priority=400)  # before napoleon
    app.connect("html-page-context", set_language)
    app.connect("html-page-context", mend_links_to_reference)
