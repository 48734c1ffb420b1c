"""The pages of the documentation as the tests read them: files, code blocks, headings, links."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("README.*.md")), *sorted(DOCS.rglob("*.md"))]
"""The README and all pages of docs, in all languages."""

CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block whose first line is ```LANGUAGE NOTE."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    @property
    def needs(self) -> str:
        """The package that the note "needs: PACKAGE" names."""
        return self.note.removeprefix("needs: ") if self.note.startswith("needs: ") else ""

    @property
    def runs(self) -> bool:
        """Whether the tests run it: not if the note is "no-run: why", or names a package that is not installed."""
        return not self.note.startswith("no-run") and (not self.needs or find_spec(self.needs) is not None)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def parse(text: str):
    return MarkdownIt().enable("table").parse(text)


def blocks(page: Path) -> list[Block]:
    return blocks_of(page.read_text(encoding="utf-8"), page)


def blocks_of(text: str, page: Path) -> list[Block]:
    found = []
    for token in parse(text):
        if token.type == "fence":
            language, _, note = token.info.partition(" ")
            found.append(Block(page, token.map[0] + 1, language, note.strip(), token.content))
    return found


def prose(text: str) -> str:
    """The text without code."""
    lines = text.split("\n")
    for token in parse(text):
        if token.type == "fence":
            lines[token.map[0] : token.map[1]] = [""] * (token.map[1] - token.map[0])
    return CODE_SPAN.sub("", "\n".join(lines))


def commands(page: Path) -> list[str]:
    """The commands of a page, one per line and without comments. A block without a language contains commands, too."""
    return [
        line.partition(" # ")[0].strip()
        for block in blocks(page)
        if block.language in ("sh", "") and block.runs
        for line in block.text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]
