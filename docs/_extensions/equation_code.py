"""The directive `equation-code`: what a function of the source computes, to stand next to its equation.

```{equation-code} ../../src/hypernetworks/recurrent/lstm.py
:pyobject: lstm_step
:start-at: "# c_t"
:end-before: "# h_t"
```

The signature, the docstring and the assertions are left out; the caption names the function and the file. Lines are broken at
72 columns, by ruff, since the source has up to 120.
"""

import ast
import functools
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.directives.code import container_wrapper
from sphinx.util.docutils import SphinxDirective

COLUMNS = 72
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def formatted(source: str, columns: int) -> str:
    """The source with lines of at most so many columns."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={columns}", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True, encoding="utf-8").stdout


def function_of(tree: ast.AST, name: str) -> Function:
    """The function or method of this dotted name.

    Raises:
        ValueError: there is none, or it has no docstring.
    """
    for part in name.split("."):
        found = [node for node in ast.iter_child_nodes(tree) if getattr(node, "name", None) == part]
        if not found:
            raise ValueError(f"no {name}")
        tree = found[0]
    if not isinstance(tree, Function) or ast.get_docstring(tree) is None:
        raise ValueError(f"{name} should be a function with a docstring")
    return tree


def body_of(source: str, name: str) -> str:
    """The lines of a function below its docstring, without assertions, which tell type checkers what the reader knows."""
    indentation = function_of(ast.parse(source), name).col_offset + 4
    text = formatted(source, COLUMNS + indentation)
    function = function_of(ast.parse(text), name)
    left_out = {
        number
        for node in ast.walk(function)
        if isinstance(node, ast.Assert) and node.end_lineno
        for number in range(node.lineno, node.end_lineno + 1)
    }
    first = function.body[0].end_lineno or 0
    numbered = list(enumerate(text.splitlines(), 1))[first : function.end_lineno]
    return textwrap.dedent("\n".join(line for number, line in numbered if number not in left_out)).strip("\n")


def part_of(text: str, start: str | None, end: str | None) -> str:
    """From the first line that contains `start` to the one before the next that contains `end`.

    Raises:
        ValueError: there is no such line.
    """
    lines = text.split("\n")
    first = _find(lines, start, 0) if start else 0
    last = _find(lines, end, first + 1) if end else len(lines)
    return textwrap.dedent("\n".join(lines[first:last]))


def _find(lines: list[str], text: str, first: int) -> int:
    for k in range(first, len(lines)):
        if text in lines[k]:
            return k
    raise ValueError(f"no line contains {text!r}")


class EquationCode(SphinxDirective):
    """Includes the code of a function from a file at a path relative to the page."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "pyobject": directives.unchanged_required,
        "start-at": directives.unchanged_required,
        "end-before": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """The code with its caption."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        name = self.options["pyobject"]
        try:
            body = body_of(Path(path).read_text(encoding="utf-8"), name)
            code = part_of(body, self.options.get("start-at"), self.options.get("end-before"))
        except (OSError, ValueError) as error:
            raise self.error(f"{self.arguments[0]}: {error}") from error
        block = nodes.literal_block(code, code, language="python", source=path)
        return [container_wrapper(self, block, f"{name} in {Path(path).name}")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive; Sphinx calls this function."""
    app.add_directive("equation-code", EquationCode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
