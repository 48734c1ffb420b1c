"""Equations as MathML, which browsers render without a script, a font or the network."""

from typing import NoReturn
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

NAMESPACE = "http://www.w3.org/1998/Math/MathML"

log = logging.getLogger(__name__)


def visit_inline(translator: HTML5Translator, node: nodes.math) -> NoReturn:
    """An inline equation."""
    translator.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> NoReturn:
    """A displayed equation; a wide one scrolls on its own."""
    translator.body.append(f'<div class="equation" tabindex="0">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, as_block: bool) -> str:
    try:
        return _lower_indices(tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        log.warning("this equation cannot be rendered: %s: %s", node.astext(), error, location=node)
        return ""


def _lower_indices(mathml: str) -> str:
    """Place the index of a letter with an accent beside it; docutils places the t of ĥ_t below the h."""
    ElementTree.register_namespace("", NAMESPACE)
    math = ElementTree.fromstring(mathml.replace("&ApplyFunction;", "\N{FUNCTION APPLICATION}"))
    for both in math.iter(f"{{{NAMESPACE}}}munderover"):
        letter, index, over = both
        if over.get("stretchy") == "false":  # an accent, not the limit of a sum
            both.tag = f"{{{NAMESPACE}}}msub"
            accented = ElementTree.Element(f"{{{NAMESPACE}}}mover", {"accent": "true"})
            accented.extend([letter, over])
            both[:] = [accented, index]
    return ElementTree.tostring(math, encoding="unicode")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it as html_math_renderer = "mathml"."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
