"""The README is short, and its table of networks is the registry's."""

import re

from hypernetworks.recurrent.families import FAMILIES

from .pages import ROOT

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
