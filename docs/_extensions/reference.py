"""The reference: a page for each name in the tables of api.md, made by autosummary from the docstrings.

Words of the prose that name something public, such as `hn.HyperLSTM`, lead to its page.
"""

import re
from dataclasses import is_dataclass
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_content, pending_xref
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.ext.autosummary import autosummary_toc
from sphinx.transforms import SphinxTransform

import hypernetworks
from hypernetworks import analysis, jax, strokes, text, vision

MEMBERS = {
    "RecurrentNetwork": "forward, stepper",
    "RecurrentCell": "forward",
    "Stepper": "__call__, state, reset, refresh, batch, weights, native, close",
    "HyperConv2d": "forward",
    "HyperLinear": "forward",
    "HyperNetwork": "forward, generate, using, materialize, weight_report",
    "LowRankGenerator": "factors",
    "Generator": "bind, build, forward, factors, prepare, leaves, trains_base, uses_base",
    "Factors": "product, square, minus",
    "TaskEmbedding": "forward, add",
    "ContinualRegularizer": "remember, forward",
    "RelativeChange": "__call__",
    "CharacterModel": "forward",
    "Corpus": "encode, decode, sizes",
    "TrainedText": "generate, stream, evaluate, from_run, to, alphabet, unit",
    "StrokeModel": "forward, start",
    "StrokeData": "scale, sizes",
    "Drawings": "drawing, chosen, of",
    "Mixture": "of, nats, draw",
}
"""The members that the page of a class shows, and those of the classes derived from it. A record shows all of its fields."""

ALONE = {"Generator"}
"""Classes whose members are shown on their own page only: derived ones have no more to call."""

OF_OTHERS = re.compile(r"(Hyper)?(LSTM|GRU|RNN|RHN)(Cell)?")
"""Names that torch or labml_nn have, too."""

ALONE_ENOUGH = {name for name in hypernetworks.__all__ if name[0].isupper() and not OF_OTHERS.fullmatch(name)}


def members_of(thing: type) -> str | None:
    """What autodoc's option `members` should be for a class; "" for all that have a docstring, None for none."""
    for base in thing.__mro__:
        if base.__name__ in MEMBERS and (base is thing or base.__name__ not in ALONE):
            return MEMBERS[base.__name__]
    return "" if is_dataclass(thing) or issubclass(thing, tuple) else None


def choose_members(app: Sphinx, config: Config) -> None:
    """Tell the template of a class which members its page shows."""
    things = {
        f"{package.__name__}.{name}": getattr(package, name)
        for package in (hypernetworks, analysis, jax, text, vision, strokes)
        for name in package.__all__
    }
    shown = {name: members_of(thing) for name, thing in things.items() if isinstance(thing, type)}
    config.autosummary_context["members_shown"] = {
        name: members for name, members in shown.items() if members is not None
    }


def leave_out_of_navigation(app: Sphinx, doctree: nodes.document) -> None:
    """Leave the pages of the names out of the navigation: they are in the tables, and each page would hold all of them."""
    for table in list(doctree.findall(autosummary_toc)):
        table.parent.remove(table)


def mark_examples(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put a `::` before each indented paragraph of a docstring, so that Sphinx shows it as code or as an equation."""
    marked: list[str] = []
    for before, line in zip(["", *lines], lines, strict=False):
        above = next((earlier for earlier in reversed(marked) if earlier), "")
        if line.startswith("    ") and not before and not above.startswith("    ") and not above.endswith("::"):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = marked


_kept: dict[str, list[str]] = {}


def keep_attributes(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Keep the docstring of an attribute from napoleon, which takes what stands before a colon in it for a type.

    A field of a named tuple without a docstring has one of Python's own, which says nothing.
    """
    if what in ("attribute", "property", "data"):
        _kept[name] = [] if lines and lines[0].startswith("Alias for field number") else list(lines)
        lines.clear()


def restore_attributes(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put it back."""
    lines.extend(_kept.pop(name, []))


def show_factories(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Write `...` for a default that a dataclass makes: Sphinx cannot read `<factory>`, and then shortens no type."""
    return signature and signature.replace("<factory>", "..."), returned


class LinkNames(SphinxTransform):
    """Makes `hn.NAME` and `hn.NAME(...)` links to the pages of these names, if there are such pages.

    `NAME` alone, too, unless other libraries have the same.
    """

    default_priority = 500
    named = re.compile(r"(hn\.|hypernetworks\.)?(\w+(?:\.\w+)*)(?:\(.*\))?", re.DOTALL)

    def apply(self, **options: Any) -> None:
        """Replace the words."""
        for literal in list(self.document.findall(nodes.literal)):
            found = self.named.fullmatch(literal.astext())
            if (
                found
                and (found[1] or found[2].partition(".")[0] in ALONE_ENOUGH)
                and not _is_within(literal, (nodes.reference, pending_xref, nodes.title))
            ):
                link = pending_xref(
                    "",
                    literal.deepcopy(),
                    refdomain="py",
                    reftype="obj",
                    reftarget=f"hypernetworks.{found[2]}",
                    refdoc=self.env.docname,
                    refexplicit=True,
                    refwarn=False,
                )
                literal.replace_self(link)


class Dashes(SphinxTransform):
    """Makes the `--` that Sphinx puts between an argument and its description a dash."""

    default_priority = 500

    def apply(self, **options: Any) -> None:
        """Replace them."""
        for content in self.document.findall(desc_content):
            for words in list(content.findall(nodes.Text)):
                if words == " -- ":
                    words.parent.replace(words, nodes.Text(" – "))


def _is_within(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def mend_links_to_reference(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Give the links from the pages of the source to the reference the names that are documented.

    viewcode assumes that all names of a module are documented on one page and under one name of the module, those of the
    first one.
    """
    if not page.startswith("_modules/"):
        return
    documented = app.env.domains["py"].objects
    module = page.removeprefix("_modules/").split("/")
    packages = [".".join(module[:k]) for k in range(len(module), 0, -1)]

    def mended(link: re.Match[str]) -> str:
        parts = link[2].split(".")
        tails = [".".join(parts[k:]) for k in range(1, len(parts))]
        for name in (link[2], *(f"{package}.{tail}" for tail in tails for package in packages)):
            if name in documented:
                return f'href="{context["pathto"](documented[name].docname)}#{name}"'
        return link[0]

    context["body"] = re.sub(r'href="([^"#]+)#([\w.]+)"', mended, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the handlers; Sphinx calls this function."""
    app.add_transform(LinkNames)
    app.add_transform(Dashes)
    app.connect("config-inited", choose_members)
    app.connect("doctree-read", leave_out_of_navigation, priority=100)  # before sphinx reads the tables of contents
    app.connect("autodoc-process-docstring", mark_examples, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", keep_attributes, priority=450)
    app.connect("autodoc-process-docstring", restore_attributes, priority=550)
    app.connect("autodoc-process-signature", show_factories)
    app.connect("html-page-context", mend_links_to_reference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
