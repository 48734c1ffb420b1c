"""Sphinx settings: `make docs` builds these pages, and a warning fails the build."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "hypernetworks"
author = "The hypernetworks authors"
version = release = installed_version("hypernetworks")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "diagrams",
    "equation_code",
    "offline_mathematics",
    "chinese_search",
    "chinese_pages",
    "reference",
]
templates_path = ["_templates"]
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
html_js_files = ["copy.js"]

default_role = "py:obj"  # a `name` in a docstring is code, and links to its entry if there is one
autodoc_member_order = "bysource"
napoleon_use_param = (
    False  # else a group such as "a, b: …" becomes one entry for each, all with the description of the group
)
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autosummary_filename_map = {
    "hypernetworks.trace": "hypernetworks.trace-function"
}  # differs from Trace in more than case
python_maximum_signature_line_length = 88  # longer ones have a line for each argument
python_display_short_literal_types = True
