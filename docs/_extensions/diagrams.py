"""The directive `diagram`: an SVG file within the page, so that it follows the page's theme and can be read aloud.

```{diagram} ../images/diagrams/hyper-lstm.svg
```
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Diagram(SphinxDirective):
    """Inserts the SVG file at a path relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The file as HTML."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise self.error(f"no diagram {self.arguments[0]}: {error.strerror}") from error
        return [nodes.raw("", text, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive; Sphinx calls this function."""
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
