"""Sphinx settings: `make docs` builds these pages, and a warning fails the build."""

from importlib.metadata import version as installed_version

project = "hypernetworks"
author = "The hypernetworks authors"
version = release = installed_version("hypernetworks")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "hypernetworks"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings tell shapes and units
autodoc_default_options = {"show-inheritance": True}
