"""The README is short, and its table of networks is the registry's."""

import re

from hypernetworks.recurrent.families import FAMILIES

from .pages import DOCS, ROOT, commands

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z-]+)` \| `(hn\.\w+\(.*?\))` \| (.+) \|$", re.MULTILINE)


def call(family):
    """The class of a network, and the arguments that its name fixes."""
    settings = ", ".join(f"{name}={value!r}" for name, value in family.settings.items())
    return f"hn.{family.network.__name__}({settings})"


def test_the_table_of_networks_is_the_registry():
    rows = [(name, written) for name, written, _ in ROW.findall(README)]
    assert rows == [(family.name, call(family)) for family in FAMILIES.values()]


def test_it_is_short():
    assert len(README.splitlines()) <= 130


def test_every_page_installs_the_same():
    pages = [ROOT / "README.md", DOCS / "start.md", ROOT / "README.zh.md", DOCS / "zh" / "start.md"]
    lines = [line for page in pages for line in commands(page) if "pip install" in line]
    assert len(lines) == len(pages)
    assert len(set(lines)) == 1
