"""Keeps each Chinese page in step with its English one, section by section.

Below each heading, a Chinese page has the stamp of the English section that it translates, <!-- en: HASH -->. After changing an
English section, translate the change and update the stamps:  python -m tests.docs.translation
"""

import hashlib
import io
import os
import re
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .pages import DOCS, ROOT, Block, blocks_of, parse, prose

PAIRS = {ROOT / "README.zh.md": ROOT / "README.md"} | {
    page: DOCS / page.relative_to(DOCS / "zh")
    for page in sorted((DOCS / "zh").rglob("*.md"))
    if page != DOCS / "zh" / "terms.md"  # there is no English one
}
"""Each Chinese page, and its English one."""

STAMP = re.compile(r"^<!-- en: ([0-9a-f]{12}) -->\n", re.MULTILINE)


@dataclass(frozen=True)
class Section:
    """A heading and the text below it, up to the next heading of any level."""

    page: Path
    level: int
    title: str
    text: str

    @property
    def digest(self) -> str:
        """A hash of the text that ignores spaces at the ends of lines."""
        lines = [line.rstrip() for line in self.text.strip().splitlines()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def stamp(self) -> str | None:
        """The digest of the English section that a Chinese section translates."""
        found = STAMP.search(self.text)
        return found[1] if found else None

    @property
    def code(self) -> list[tuple[str, bool, str]]:
        """Its code blocks without comments, which may be translated, and without other pages: tables of contents list them, and
        a Chinese page may include a table of the English one.
        """
        return [
            (_language(block), block.runs, _without_comments(block))
            for block in blocks_of(self.text, self.page)
            if block.language not in ("{toctree}", "{include}")
        ]

    @property
    def equations(self) -> tuple[list[str], Counter[str]]:
        """Displayed equations in their order, and inline ones, whose order may differ between languages."""
        text = prose(self.text)
        shown = re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)
        inline = re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.+?\$\$", "", text, flags=re.DOTALL))
        return shown, Counter(" ".join(equation.split()) for equation in inline)


def sections(page: Path) -> list[Section]:
    text = page.read_text(encoding="utf-8")
    lines = text.split("\n")
    tokens = parse(text)
    heads = [
        (token.map[0], int(token.tag[1]), tokens[k + 1].content)
        for k, token in enumerate(tokens)
        if token.type == "heading_open"
    ]
    ends = [start for start, _, _ in heads[1:]] + [len(lines)]
    return [
        Section(page, level, title, "\n".join(lines[start:end]))
        for (start, level, title), end in zip(heads, ends, strict=True)
    ]


def _language(block: Block) -> str:
    """The language; for a directive its name and the file that it includes, independent of the page's folder."""
    if not block.language.startswith("{"):
        return block.language
    path = os.path.relpath(block.page.parent / block.note, ROOT) if block.note else ""
    return f"{block.language} {Path(path).as_posix()}"


def _without_comments(block: Block) -> str:
    if block.language == "python":
        lines = block.text.splitlines()
        for token in tokenize.generate_tokens(io.StringIO(block.text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
        return "\n".join(line.rstrip() for line in lines)
    if block.language == "sh":
        return "\n".join(line.partition("# ")[0].rstrip() for line in block.text.splitlines())
    return block.text


def stamp(chinese: Path, english: Path) -> None:
    """Write the digests of the English sections into the Chinese page."""
    parts = []
    for theirs, ours in zip(sections(chinese), sections(english), strict=True):
        title, _, rest = STAMP.sub("", theirs.text).partition("\n")
        parts.append(f"{title}\n<!-- en: {ours.digest} -->\n{rest}")
    chinese.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    for chinese, english in PAIRS.items():
        stamp(chinese, english)
