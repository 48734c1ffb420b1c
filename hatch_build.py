"""The README as a package index shows it, read by hatchling for the metadata of the archives.

An index shows the page alone, so links to files of the repository would lead nowhere. They become links to the repository of
pyproject.toml, `project.urls.Repository`; without one, their text.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")
"""An image or a link to a file: whether it is an image, its text, the path."""


class ReadmeHook(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README to the metadata."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": resolved(text, repository)}


def resolved(text: str, repository: str) -> str:
    """A page in Markdown without links to other files."""

    def link(match: re.Match[str]) -> str:
        image, shown, path = match.groups()
        if not repository:
            return "" if image else shown
        return f"{image}[{shown}]({repository}/{'raw' if image else 'blob'}/HEAD/{path})"

    return _LINK.sub(link, text)
